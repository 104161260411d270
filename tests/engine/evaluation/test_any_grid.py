"""Downscaling to any grid: grids by hand, fields against those of the run's own grid, and in blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.data.grids import CurvilinearGrid, Grid
from engine.data.hr_template import HrTemplate
from engine.data.kernels import kernel_weights
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.errors import DataError, GridError
from engine.evaluation import any_grid
from engine.evaluation.any_grid import PRODUCTS, PlaceDownscaler, Places, positions, read_points, refine
from engine.evaluation.predict import Downscaler
from engine.models.compatibility import check_field
from engine.models.network import at_points
from engine.spec import Spec
from engine.training import assembly
from tests.engine.small_pairs import make_pairs, waves

SCALE = 4
LATITUDE, LONGITUDE = 0.5, 0.5  # of the first HR cell, of 1°


def lab(**given: Any) -> tuple[Pairs, Downscaler, Samples, Pairs]:
    """A network of random weights on pairs with a static variable and a sea, and the same LR on its own grid."""
    hr = waves(8, 24, 64)
    hr[:, 3:6, 40:47] = np.nan
    pairs = make_pairs(hr, static=[waves(1, 24, 64, seed=2)[0]], scale=SCALE, is_global=given.pop("is_global", False))
    model = {"upsampling": "implicit", "localized": False, "scales": [2, 8], "n_filters": 4, "n_blocks": 1, **given}
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": SCALE}, "model": model})
    normalizer = fit_normalizer(pairs, "standard")
    network = assembly.build_network(spec, pairs, normalizer)
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) / np.sqrt(max(1, np.prod(weight.shape[:-1]))))
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    whole = Downscaler.of([network], spec, samples)
    template = HrTemplate(pairs.hr[0], pairs.static, pairs.data_shape).onto(pairs.lr_grid)
    own = Pairs(**{**vars(pairs), "static": template.static, "hr_grid": pairs.lr_grid, "scale": 1, "hr": pairs.lr})
    return pairs, whole, samples, own


def fields_at(cells: Grid, pairs: Pairs, whole: Downscaler, samples: Samples, own: Pairs) -> dict[str, np.ndarray]:
    normalizer, (network,) = samples.normalizer, whole.networks
    template = HrTemplate(pairs.hr[0], pairs.static, pairs.data_shape)
    places = Places.of(cells, isinstance(cells, CurvilinearGrid), pairs.lr_grid, template, normalizer)
    given = replace(samples, pairs=own)
    at = PlaceDownscaler([at_points(network)], whole.reach, whole.bound, pairs.interpolation)
    return at.fields(given, np.arange(len(samples)), places)


@pytest.mark.parametrize("is_global", [False, True])
def test_on_the_grid_of_the_run_fields_are_those_of_the_run(is_global):
    pairs, whole, samples, own = lab(is_global=is_global)
    inputs, block = samples.read(np.arange(len(samples)))
    found = fields_at(pairs.hr_grid, pairs, whole, samples, own)
    # The static variable's mean over an LR cell is weighted by area here, and plain in the network.
    np.testing.assert_allclose(found["downscaled"], whole(samples, inputs), atol=2e-3)
    np.testing.assert_allclose(found["interpolated"], whole.interpolated(samples, block.lr), atol=1e-3)
    assert np.isnan(found["downscaled"][:, 3:6, 40:47]).all()


@pytest.mark.parametrize("backbone", ["convnet", "swin", "graph"])
def test_in_blocks_fields_are_those_of_the_whole(backbone, monkeypatch):
    pairs, whole, samples, own = lab(backbone=backbone)
    cells = refine(pairs.lr_grid, 2.5)
    expected = fields_at(cells, pairs, whole, samples, own)
    monkeypatch.setattr(any_grid, "CELLS_AT_ONCE", 60)
    found = fields_at(cells, pairs, whole, samples, own)
    for name in PRODUCTS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)


def test_only_fields_in_training_have_two_lr_cells_of_the_largest_scale():
    pairs = make_pairs(waves(8, 24, 64), scale=SCALE)
    own = replace(pairs, hr_grid=pairs.lr_grid, scale=1)  # LR as given, of 6 rows; a scale of 8 needs 16 in training
    model = {"upsampling": "implicit", "localized": False, "scales": [2, 8]}
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": SCALE}, "model": model})
    check_field(spec, own, 0.0)
    with pytest.raises(DataError, match="goes up to 8, but fields in training have 6 HR cells"):
        check_field(spec, replace(own, scale=SCALE), 0.0)


def test_points_are_cells_as_wide_as_those_of_hr(tmp_path):
    pairs, whole, samples, own = lab()
    (tmp_path / "points.csv").write_text("name,lat,lon\nA,2.5,10.5\nB,20.5,33.5\n")
    found = fields_at(read_points(tmp_path / "points.csv"), pairs, whole, samples, own)
    expected = fields_at(pairs.hr_grid, pairs, whole, samples, own)
    for name in PRODUCTS:
        at_cells = expected[name][:, [2, 20], [10, 33]]
        np.testing.assert_allclose(found[name][..., 0], at_cells, atol=0.05, err_msg=name)


@pytest.mark.parametrize("text", ["", "lat\n1\n", "lat,lon\n", "lat,lon\n1,\n", "lat,lon\nx,2\n"])
def test_a_table_without_points_is_refused(text, tmp_path):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(DataError, match=r"points\.csv"):
        read_points(tmp_path / "points.csv")


def test_a_grid_is_divided_by_hand():
    # 3 cells of 5° from 0° on give 7.5 cells of 2°: the last one would reach beyond 15°.
    grid = refine(Grid(np.array([12.5, 7.5, 2.5]), np.array([100.0, 110.0])), 2.5)
    np.testing.assert_allclose(grid.y, [14, 12, 10, 8, 6, 4, 2])
    np.testing.assert_allclose(grid.x, [97, 101, 105, 109, 113])
    lat, lon = np.meshgrid(np.arange(4.0), np.arange(4.0), indexing="ij")
    curvilinear = CurvilinearGrid(np.arange(4.0), np.arange(4.0), lat=lat, lon=lon)
    finer = refine(curvilinear, 2)
    np.testing.assert_allclose(finer.lat[1:-1, 3], np.arange(0.25, 3, 0.5), atol=2e-3)
    np.testing.assert_allclose(positions(curvilinear, finer)[0][1:-1, 3], np.arange(0.25, 3, 0.5), atol=2e-3)


def test_interpolation_on_a_projected_grid():
    pairs, whole, samples, own = lab()
    mercator = {"grid_mapping_name": "mercator", "standard_parallel": 0.0, "longitude_of_projection_origin": 0.0}
    metres = 6378137 * np.deg2rad(np.array([8.0, 9.0, 10.0]))
    units = {"units": "m"}
    grid = Grid(metres, metres * 2, {**mercator, "earth_radius": 6378137.0}, units, units)
    found = fields_at(grid, pairs, whole, samples, own)["interpolated"]
    latitudes = np.rad2deg(2 * np.arctan(np.exp(metres / 6378137)) - np.pi / 2)  # Snyder (1987), eq. 7-4
    rows, columns = (np.array(at) / SCALE - 0.5 for at in (latitudes, [16.0, 18.0, 20.0]))
    lr = samples.read(np.arange(len(samples)))[1].lr
    by_row, by_column = kernel_weights(rows, 6, "bicubic"), kernel_weights(columns, 16, "bicubic")
    np.testing.assert_allclose(found, by_row @ lr @ by_column.T, atol=1e-3)


def test_what_lies_outside_of_lr_is_refused():
    pairs, whole, samples, own = lab()
    with pytest.raises(GridError, match="covers"):
        fields_at(Grid(np.array([50.0, 51.0]), np.array([3.0, 4.0])), pairs, whole, samples, own)
