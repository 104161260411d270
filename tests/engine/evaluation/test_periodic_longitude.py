"""A field that goes around the globe has no seam: what is done to it doesn't depend on its first column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from engine.data.gaps import fill_missing
from engine.data.grids import Grid
from engine.data.kernels import KERNELS, upsampling_matrix
from engine.data.normalizer import fit_normalizer
from engine.data.resample import coarsening, interpolate
from engine.data.samples import Samples, Shuffle
from engine.evaluation import predict, tiles
from engine.evaluation.predict import Downscaler
from engine.evaluation.tiles import input_shape, plan_tiles
from engine.models.blocks import Noise, drawn
from engine.models.discriminator import build_discriminator
from engine.models.network import Output, build
from engine.models.receptive_field import Reach, with_wrap
from engine.models.shapes import Shape
from engine.spec import DataOptions, ModelOptions, Spec
from engine.training.feed import Feed
from engine.training.memory_budget import activation_bytes, prediction_bytes
from tests.engine.small_pairs import make_pairs, waves

SCALE = 2


def options(**given: Any) -> ModelOptions:
    return ModelOptions(**{"n_filters": 4, "n_blocks": 1, "localized": False, "activation": "silu", **given})


def with_random_weights(model: ModelOptions, shape: Shape, output: Output) -> Any:
    network, rng = build(model, shape, output), np.random.default_rng(0)
    for variable in network.trainable_variables:
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        variable.assign(rng.normal(size=variable.shape) * np.sqrt(2 / fan_in))
    return network


def global_samples(n_y: int, n_x: int, **further: Any) -> Samples:
    hr = waves(8, n_y, n_x)
    static = [waves(1, n_y, n_x, seed=2)[0]]
    pairs = make_pairs(hr, scale=SCALE, static=static, is_global=True, **further)
    data = DataOptions(target={"path": "hr.nc"}, scale=SCALE)
    return Samples(pairs, fit_normalizer(pairs, "standard"), data, pairs.parts.test[:1])


def test_across_the_seam_by_hand():
    # The first of two HR cells lies a quarter of an LR cell before the middle of its own: 3/4 of that, 1/4 of the last.
    first = [0.75, 0, 0.25]
    np.testing.assert_allclose(upsampling_matrix(3, 2, "bilinear", periodic=True)[[0, 5]], [first, [0.25, 0, 0.75]])
    values = np.array([[[1, np.nan, np.nan, np.nan, 9, np.nan]]])
    np.testing.assert_array_equal(fill_missing(values, periodic=True)[0, 0, [1, 5]], [1, 9])
    np.testing.assert_array_equal(fill_missing(np.roll(values, 1), periodic=True)[0, 0, :3], [9, 1, 1])
    np.testing.assert_array_equal(fill_missing(np.array([[[1, np.nan, np.nan, 9, 9, np.nan]]]))[0, 0, 5], 9)


def test_bicubic_is_the_periodic_spline_of_scipy():
    lr = np.random.default_rng(0).normal(size=9)
    scipys = ndimage.zoom(lr, 3, order=3, mode="grid-wrap", grid_mode=True)
    np.testing.assert_allclose(upsampling_matrix(9, 3, "bicubic", periodic=True) @ lr, scipys, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_interpolation_or_sampling_of_a_rolled_field_is_rolled(kernel):
    lr, hr = (np.random.default_rng(0).normal(size=(3, 5, n)).astype("f4") for n in (9, 18))
    whole, rolled = (interpolate(field, SCALE, kernel, periodic=True) for field in (lr, np.roll(lr, 4, axis=-1)))
    np.testing.assert_allclose(rolled, np.roll(whole, 4 * SCALE, axis=-1), atol=1e-6)
    sample = coarsening(Grid(np.arange(6.0), np.arange(18.0) * 20), SCALE, kernel)
    hr = np.concatenate([hr, hr[:, :1]], axis=1)
    hr[0, 2, 0] = np.nan
    np.testing.assert_allclose(sample(np.roll(hr, 8, axis=-1)), np.roll(sample(hr), 4, axis=-1), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "roll"),
    [
        ({}, 5),
        ({"upsampling": "dc", "residual": False}, 5),
        ({"upsampling": "pin"}, 7),
        ({"backbone": "unet", "upsampling": "pin", "n_blocks": 2}, 4),  # fields halved twice begin at 2 LR cells
        ({"backbone": "swin", "n_blocks": 2}, 8),  # windows of 8
        ({"backbone": "graph"}, 5),
        ({"constraint": "additive"}, 5),
    ],
    ids=str,
)
def test_a_network_of_a_rolled_field_is_rolled(given, roll):
    model = options(**given)
    shape = with_wrap(Shape(6, 32, 2, 1, SCALE), model, periodic=True)
    network = with_random_weights(model, shape, Output("bicubic", 1.0, 0.0, "linear"))
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(2, 6, 32, 2)).astype("f4")
    static = rng.normal(size=(1, 12, 64, 1 + ("constraint" in given))).astype("f4") ** 2
    field = network([inputs, static]).numpy()
    rolled = network([np.roll(inputs, roll, axis=2), np.roll(static, roll * SCALE, axis=2)]).numpy()
    assert field.std() > 0.1
    np.testing.assert_allclose(rolled, np.roll(field, roll * SCALE, axis=2), atol=2e-5 * np.abs(field).max())
    borders = with_random_weights(model, Shape(6, 32, 2, 1, SCALE), Output("bicubic", 1.0, 0.0, "linear"))
    with_seam = borders([inputs, static]).numpy()
    assert np.abs(with_seam - field)[:, :, [0, -1]].max() > 0.01  # so the test can fail


def test_a_discriminator_of_rolled_fields_is_rolled():
    shape = with_wrap(Shape(6, 32, 1, 0, SCALE), options(n_blocks=3), periodic=True)  # 9 columns beside: it sees 7
    network = build_discriminator(shape, Output("bicubic", 1.0, 0.0, "linear"))
    rng = np.random.default_rng(0)
    fields = [rng.normal(size=(1, 6 * s, 32 * s, 1)).astype("f4") for s in (1, SCALE)]
    fields.append(np.ones_like(fields[1]))
    logits = network(fields).numpy()
    rolled = network([np.roll(field, 5 * s, axis=2) for field, s in zip(fields, (1, SCALE, SCALE), strict=True)])
    assert logits.shape == (1, 6, 32, 1)
    assert logits.std() > 0.01
    np.testing.assert_allclose(rolled, np.roll(logits, 5, axis=2), atol=1e-5)


def test_columns_beyond_by_hand():
    # Entry, two convolutions, and the stage's, at LR: 4. The two at HR reach one LR column more.
    shape = Shape(6, 32, 1, 0, SCALE)
    assert with_wrap(shape, options(), periodic=False) == shape
    plain = with_wrap(shape, options(), periodic=True)
    assert (plain.wrap, plain.wrapped.x_lr) == (5, 42)
    assert with_wrap(Shape(6, 8, 1, 0, SCALE), options(), periodic=True).wrap == 4  # half of them at most
    for seen_whole in ({"attention": True}, {"backbone": "fno"}):
        assert with_wrap(shape, options(**seen_whole), periodic=True).wrap == 16
    # 8 convolutions at HR: 4 LR cells, which is 8 HR cells and so a whole number of the coarsest cells, of 4.
    assert with_wrap(shape, options(upsampling="pin", n_blocks=3, residual=False), periodic=True).wrap == 5
    # Windows at LR begin at multiples of 8, also those from the other end.
    assert with_wrap(shape, options(backbone="swin"), periodic=True).wrap == 16
    # Memory is that of the field with the columns beside it, but for a piece of it.
    assert activation_bytes(options(), plain, 3) == activation_bytes(options(), Shape(6, 42, 1, 0, SCALE), 3)
    assert prediction_bytes(options(), plain, 3) == prediction_bytes(options(), Shape(6, 42, 1, 0, SCALE), 3)
    assert plain.piece(6, 20) == Shape(6, 20, 1, 0, SCALE)
    assert plain.piece(3, 32).wrap == 5


def test_a_localized_block_has_weights_for_the_cells_of_the_field_alone():
    model = options(localized=True)
    shape = with_wrap(Shape(3, 8, 1, 0, SCALE), model, periodic=True)
    network = build(model, shape, Output("bicubic", 1.0, 0.0, "linear"))
    assert network.get_layer("localized").weight.shape[:2] == (6, 16)
    assert network([np.ones((1, 3, 8, 1)), np.ones((1, 6, 16, 0))]).shape == (1, 6, 16, 1)


def test_noise_of_a_member_goes_around():
    model = options(noise=2)
    shape = with_wrap(Shape(3, 8, 1, 0, SCALE), model, periodic=True)
    network = with_random_weights(model, shape, Output("bicubic", 1.0, 0.0, "linear"))
    (noise,) = (layer for layer in network.layers if isinstance(layer, Noise))
    seen = []
    noise.call = lambda x, training=False, call=noise.call: seen.append(x.shape) or call(x, training)
    with drawn(network):
        network([np.ones((1, 3, 8, 1)), np.ones((1, 6, 16, 0))])
    assert seen == [(1, 3, 8, 1)]  # drawn once for each column, before those of the other end are put beside them


def test_tiles_around_the_globe_by_hand():
    # 10 columns with the halo of 2 on each side: 14, in two tiles of 9 that lose 2 on each side where they meet.
    found = plan_tiles((4, 10), 1, Reach(halo=2, align=1), max_cells=47, wrap=1)
    assert [(tile.input[1], tile.output[1]) for tile in found] == [
        (slice(-2, 7), slice(0, 5)),
        (slice(3, 12), slice(5, 10)),
    ]
    # All columns in one tile: the network is given these alone, and puts the others beside them.
    rows = plan_tiles((40, 10), 1, Reach(halo=2, align=1), max_cells=256, wrap=3)
    assert len(rows) > 1
    assert all(tile.input[1] == tile.output[1] == slice(0, 10) for tile in rows)


@pytest.mark.parametrize("seed", range(50))
def test_every_plan_around_the_globe_keeps_each_column_once_with_a_halo(seed):
    rng = np.random.default_rng(seed)
    halo, align = int(rng.integers(1, 20)), int(2 ** rng.integers(0, 4))
    wrap = -(-int(rng.integers(1, halo + 1)) // align) * align
    columns, kept = int(rng.integers(20, 400)), []
    for tile in plan_tiles((30, columns), 2, Reach(halo, align), int(rng.integers(10, 2000)), wrap):
        given, used = tile.input[1], tile.output[1]
        if given != slice(0, columns):
            assert given.start % align == 0
            assert used.start - given.start >= halo
            assert given.stop - used.stop >= halo
        kept += range(used.start, used.stop) if tile.output[0].start == 0 else []
    assert kept == list(range(columns))


@pytest.mark.parametrize("given", [{}, {"backbone": "unet", "upsampling": "pin", "n_blocks": 2}], ids=str)
def test_a_globe_in_tiles_is_the_whole_globe(given, monkeypatch):
    model = options(**given)
    samples = global_samples(80, 240)
    shape = with_wrap(Shape.of(samples), model, samples.pairs.periodic)
    output = Output.of(model, samples.normalizer, "bicubic")
    downscaler = Downscaler.of([with_random_weights(model, shape, output)], Spec(samples.options, model), samples)
    inputs, _ = samples.read(np.arange(1))
    whole = downscaler(samples, inputs)
    monkeypatch.setattr(predict, "HR_CELLS_AT_ONCE", 1)
    monkeypatch.setattr(tiles, "MIN_HALOS", 3)
    planned = plan_tiles((40, 120), SCALE, downscaler.reach, 1, downscaler.wrap)
    assert len({tile.output[1].start for tile in planned}) >= 3
    assert input_shape(planned)[1] < 120
    np.testing.assert_allclose(downscaler(samples, inputs), whole, rtol=4e-7, atol=2e-5)


def test_the_baseline_and_the_inputs_go_around():
    samples = global_samples(8, 16)
    lr = samples.pairs.read(samples.steps).lr
    downscaler = Downscaler.of([], Spec(samples.options, options()), samples)
    expected = np.roll(downscaler.interpolated(samples, lr), 6, axis=-1)
    np.testing.assert_allclose(downscaler.interpolated(samples, np.roll(lr, 3, axis=-1)), expected, rtol=4e-7)


def test_patches_cross_the_seam():
    samples = global_samples(10, 16)
    plan = np.array([[0, 1, 6]], np.int32)  # LR columns 6, 7, 0, 1
    whole_inputs, whole_hr = samples.load(np.arange(1))
    for in_memory in (True, False):
        inputs, static, hr, weights = Feed(samples, in_memory)._patches(plan, 4)
        np.testing.assert_array_equal(inputs[0], whole_inputs[0, 1:5][:, [6, 7, 0, 1]])
        columns = [12, 13, 14, 15, 0, 1, 2, 3]
        np.testing.assert_array_equal(hr[0], whole_hr[0][2:10][:, columns])
        np.testing.assert_array_equal(static[0], samples.static[2:10][:, columns])
        np.testing.assert_array_equal(weights[0, ..., 0], samples.areas[2:10][:, columns])


def test_every_column_begins_patches():
    planned = [Shuffle(40, (6, 8), 4, 8, 0, periodic=periodic).epoch(0) for periodic in (True, False)]
    assert [set(plan[..., 2].ravel()) for plan in planned] == [set(range(8)), set(range(5))]
    assert set(planned[0][..., 1].ravel()) == {0, 1, 2}
