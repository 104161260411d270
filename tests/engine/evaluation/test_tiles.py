"""Tiles: the plan by hand, and a field in tiles the same as the whole field, for every network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.data.normalizer import fit_normalizer
from engine.data.samples import Samples
from engine.evaluation import predict, tiles
from engine.evaluation.predict import Downscaler
from engine.evaluation.tiles import Tile, input_shape, plan_tiles
from engine.models.network import Output, build
from engine.models.receptive_field import Reach, reach
from engine.models.shapes import Shape
from engine.spec import DataOptions, ModelOptions, Spec
from tests.engine.network_combinations import COMBINATIONS
from tests.engine.small_pairs import make_pairs, waves

SCALE = 2


def test_tiles_by_hand():
    # 10 rows stay whole. Of 31 columns at most 13 at once, of which two are lost to the halo on each side: tiles start
    # at most 9 apart, at 0, 9 and 18, where the last one ends with the field.
    tiles = plan_tiles((10, 31), 1, Reach(halo=2, align=1), max_cells=130)
    assert tiles == [
        Tile((slice(0, 10), slice(0, 13)), (slice(0, 10), slice(0, 11))),
        Tile((slice(0, 10), slice(9, 22)), (slice(0, 10), slice(11, 20))),
        Tile((slice(0, 10), slice(18, 31)), (slice(0, 10), slice(20, 31))),
    ]
    assert input_shape(tiles) == (10, 13)
    middle = tiles[1]
    assert middle.input_at_hr(3) == (slice(0, 30), slice(27, 66))
    assert middle.output_at_hr(3) == (slice(0, 30), slice(33, 60))
    assert middle.output_in_input(3) == (slice(0, 30), slice(6, 33))


def test_a_field_that_is_small_enough_or_must_be_seen_whole_is_one_tile():
    whole = (slice(0, 10), slice(0, 31))
    assert plan_tiles((10, 31), 2, Reach(1, 1), max_cells=1240) == [Tile(whole, whole)]
    assert plan_tiles((10, 31), 2, None, max_cells=10) == [Tile(whole, whole)]
    assert plan_tiles((10, 31), 2, Reach(6, 1), max_cells=10) == [Tile(whole, whole)]  # 31 cells: less than six halos


@pytest.mark.parametrize("seed", range(200))
def test_every_plan_keeps_each_cell_once_and_sees_a_halo_around_it(seed):
    rng = np.random.default_rng(seed)
    lr_shape, scale = tuple(rng.integers(2, 400, 2).tolist()), int(rng.integers(2, 9))
    asked = Reach(int(rng.integers(1, 30)), int(2 ** rng.integers(0, 5)))
    most = int(rng.integers(1, 200)) ** 2 * scale**2
    tiles, outputs = plan_tiles(lr_shape, scale, asked, most), np.zeros(lr_shape, int)
    for tile in tiles:
        outputs[tile.output] += 1
        for given, used, cells in zip(tile.input, tile.output, lr_shape, strict=True):
            assert 0 <= given.start <= used.start < used.stop <= given.stop <= cells
            assert given.start % asked.align == 0
            assert given.start == 0 or used.start - given.start >= asked.halo
            assert given.stop == cells or given.stop - used.stop >= asked.halo
            assert given.stop - given.start in input_shape(tiles)
    assert (outputs == 1).all()
    y, x = input_shape(tiles)
    at_least = max(6 * asked.halo, 2 * (asked.halo + asked.align))
    assert y * x * scale**2 <= max(most, at_least * max(at_least, *lr_shape) * scale**2)


def test_what_is_reached_by_hand():
    # Entry and four convolutions at LR, then the stage's: 6. Two convolutions at HR reach one LR cell more from either
    # side of an LR cell of two. The spline fades by 2 - √3 each cell: to 1e-7 in 12 or 13.
    plain = options(n_blocks=2, residual=False)
    assert reach(plain, Shape(20, 20, 1, 0, SCALE), "bicubic") == Reach(7, 1)
    assert reach(options(), Shape(20, 20, 1, 0, SCALE), "bicubic").halo in (12, 13)
    # Two levels: tiles begin at multiples of 4 HR cells, which are 2 LR cells, and of scale 3 are 4.
    unet = options(backbone="unet", upsampling="pin", n_blocks=2)
    assert [reach(unet, Shape(20, 20, 1, 0, scale), "bilinear").align for scale in (2, 3, 4)] == [2, 4, 1]
    # Windows of 8 at LR, or at HR: of 5 LR cells 40 HR cells are the first whole windows, of 2 or 4 cells 8.
    assert [reach(options(backbone="swin"), Shape(20, 20, 1, 0, scale), "bilinear").align for scale in (2, 5)] == [8, 8]
    swin = options(backbone="swin", upsampling="pin")
    assert [reach(swin, Shape(20, 20, 1, 0, scale), "bilinear").align for scale in (2, 4, 5)] == [4, 2, 8]
    for seen_whole in ({"attention": True}, {"localized": True}, {"backbone": "fno"}):
        assert reach(options(**seen_whole), Shape(20, 20, 1, 0, SCALE), "bilinear") is None


def options(**given: Any) -> ModelOptions:
    return ModelOptions(**{"n_filters": 4, "n_blocks": 1, "localized": False, "activation": "silu", **given})


def lab(
    model: ModelOptions, window: int = 1, scale: int = SCALE, kind: str = "standard", interpolation: str = "bicubic"
) -> tuple[Downscaler, Samples]:
    """A network with random numbers for weights, and one test step with gaps, of 3 and 5 tiles along its sides."""
    halo = reach(model, Shape(9, 9, 9, 1, scale, window), interpolation).halo
    sides_lr = 5 * halo + 3, 7 * halo + 5
    sides = sides_lr[0] * scale, sides_lr[1] * scale
    hr, lr = waves(8, *sides), waves(8, *sides_lr, seed=3)
    hr[:, 10:15, 20:27] = np.nan
    lr[5:, 4:9, 10:17] = np.nan
    further = {"predictors": [waves(8, *sides_lr, seed=1)], "static": [waves(1, *sides, seed=2)[0]]}
    pairs = make_pairs(hr, lr=lr, scale=scale, interpolation=interpolation, **further)
    data = DataOptions(target={"path": "hr.nc"}, scale=scale, time_window=window)
    samples = Samples.of(Spec(data, model), pairs, fit_normalizer(pairs, kind), pairs.parts.test[:1])
    network = build(model, Shape.of(samples), Output.of(model, samples.normalizer, pairs.interpolation))
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        variable.assign(rng.normal(size=variable.shape) * np.sqrt(2 / fan_in))
    return Downscaler.of([network], Spec(data, model), samples), samples


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that keep a third of each side, so that fields of some tiles are small."""
    monkeypatch.setattr(predict, "HR_CELLS_AT_ONCE", 1)
    monkeypatch.setattr(tiles, "MIN_HALOS", 3)


def assert_tiles_are_the_whole(downscaler: Downscaler, samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, _ = samples.read(np.arange(1))
    whole = downscaler(samples, inputs)
    cut_small(monkeypatch)
    tiles = plan_tiles(samples.pairs.lr_grid.shape, samples.pairs.scale, downscaler.reach, 1)
    assert len(tiles) >= 9
    in_tiles = downscaler(samples, inputs)
    most = np.nanmax(np.abs(whole - np.nanmean(whole)))
    assert most > 0.1  # K: there is a field to tell apart
    np.testing.assert_allclose(in_tiles, whole, rtol=4e-7, atol=1e-5 * most)  # float32 has 280 K to 1e-7


@pytest.mark.parametrize("combination", [each for each in COMBINATIONS if each.backbone != "fno"], ids=str)
def test_a_field_in_tiles_is_the_whole_field(combination, monkeypatch):
    downscaler, samples = lab(options(**combination.model), window=combination.window)
    assert_tiles_are_the_whole(downscaler, samples, monkeypatch)


@pytest.mark.parametrize(
    ("given", "scale", "kind"),
    [
        ({"normalization": "batch"}, 2, "standard"),
        ({"normalization": "layer"}, 2, "standard"),
        ({"constraint": "additive"}, 2, "standard"),
        ({"constraint": "multiplicative"}, 3, "standard"),
        ({"constraint": "softmax"}, 2, "log"),
        ({"backbone": "unet", "upsampling": "pin", "n_blocks": 2}, 3, "standard"),
        ({"upsampling": "dc", "residual": False}, 4, "minmax"),
        ({"upsampling": "spc"}, 6, "none"),
    ],
)
def test_whatever_the_network_ends_with(given, scale, kind, monkeypatch):
    downscaler, samples = lab(options(**given), scale=scale, kind=kind)
    assert_tiles_are_the_whole(downscaler, samples, monkeypatch)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "lanczos"])
def test_whatever_interpolates(interpolation, monkeypatch):
    downscaler, samples = lab(options(upsampling="pin"), interpolation=interpolation)
    assert_tiles_are_the_whole(downscaler, samples, monkeypatch)


def test_members_in_tiles_are_others_of_the_same_distribution(monkeypatch):
    given = options(dropout_rate=0.1, dropout_variant="mc_vanilla", members=24)
    downscaler, samples = lab(given)
    inputs, _ = samples.read(np.arange(1))
    whole = downscaler.fields(samples, inputs)
    cut_small(monkeypatch)
    in_tiles = downscaler.fields(samples, inputs)
    assert in_tiles.keys() == whole.keys()
    for name, field in in_tiles.items():
        assert field.shape == whole[name].shape
        np.testing.assert_array_equal(np.isnan(field), np.isnan(whole[name]))
    assert np.nanmean(in_tiles["spread"]) == pytest.approx(np.nanmean(whole["spread"]), rel=0.05)
    # The means of two times 24 members differ by √(2 / 24) of their spread, in the quadratic mean over the cells.
    off = (in_tiles["downscaled"] - whole["downscaled"]) / whole["spread"]
    assert np.sqrt(np.nanmean(off**2)) == pytest.approx(np.sqrt(2 / 24), rel=0.15)


def test_all_tiles_of_a_field_go_through_one_graph(monkeypatch):
    downscaler, samples = lab(options())
    inputs, _ = samples.read(np.arange(1))
    cut_small(monkeypatch)
    downscaler(samples, inputs)
    assert downscaler._predict.experimental_get_tracing_count() == 1
