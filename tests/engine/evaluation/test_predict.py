"""Downscaling: fields in the target's unit, in a file that appears whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import COLUMN, ROW, coordinates_of, grid_of, without_suffix
from engine.data.grids import CurvilinearGrid
from engine.data.normalizer import fit_normalizer
from engine.data.resample import coarsen, interpolate
from engine.data.samples import Samples
from engine.evaluation import predict
from engine.evaluation.ensemble import EnsembleSums
from engine.evaluation.predict import Downscaler, batches, write_downscaled, write_results
from engine.evaluation.scores import pixel_rmse, score
from engine.evaluation.tiles import plan_tiles
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import DataOptions, ModelOptions, Source, Spec
from tests.engine.small_pairs import make_pairs, waves

OPTIONS = DataOptions(target={"path": "hr.nc"}, scale=2)
MODEL = ModelOptions(n_filters=4, n_blocks=1, localized=False)
PLAIN = Spec(OPTIONS, MODEL)


def samples_of(hr: np.ndarray, kind: str = "standard", **given: Any) -> Samples:
    pairs = make_pairs(hr, **given)
    return Samples(pairs, fit_normalizer(pairs, kind), OPTIONS, pairs.parts.test)


def downscaler_of(samples: Samples, bound: str = "linear", bias: float = 0.0) -> Downscaler:
    """An untrained residual network: the interpolation, plus `bias` residual standard deviations."""
    keras.utils.set_random_seed(0)
    output = Output.of(MODEL.replace(output_activation=bound), samples.normalizer, samples.pairs.interpolation)
    network = build(MODEL, Shape(4, 4, samples.channels, 0, 2), output)
    network.get_layer("output").bias.assign([bias])
    return Downscaler((network,), bound)


def nothing(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("kind", ["standard", "minmax", "none"])
def test_without_training_the_downscaled_field_is_the_interpolated_one(kind):
    samples = samples_of(waves(16), kind)
    downscaler = downscaler_of(samples)
    inputs, block = samples.read(np.arange(4))
    expected = interpolate(block.lr, 2, "bicubic")
    np.testing.assert_allclose(downscaler.interpolated(samples, block.lr), expected, rtol=1e-6)
    np.testing.assert_allclose(downscaler(samples, inputs), expected, rtol=1e-5)


def test_what_is_learned_comes_in_the_unit():
    samples = samples_of(waves(16))
    inputs, block = samples.read(np.arange(4))
    normalizer = samples.normalizer
    expected = interpolate(block.lr, 2, "bicubic") + 3 * normalizer.residual_std * normalizer.target.divisor
    np.testing.assert_allclose(downscaler_of(samples, bias=3.0)(samples, inputs), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["standard", "log"])
def test_a_bound_is_exactly_zero_in_the_unit(kind):
    rain = np.maximum(waves(16) - 280.5, 0).astype("f4")
    samples = samples_of(rain, kind)
    inputs, block = samples.read(np.arange(4))
    field = downscaler_of(samples, "relu", bias=-1.0)(samples, inputs)
    assert field.min() == 0.0
    assert 0.05 < (field == 0).mean() < 1
    assert downscaler_of(samples, "relu").interpolated(samples, block.lr).min() == 0.0
    assert downscaler_of(samples).interpolated(samples, block.lr).min() < 0  # bicubic shoots below


def test_cells_without_a_value_stay_without_and_missing_lr_is_filled():
    hr = waves(16)
    hr[:, 0, :3] = np.nan  # never a value
    hr[13, 4:6, 4:6] = np.nan  # missing once, a whole LR cell
    samples = samples_of(hr)
    inputs, block = samples.read(np.arange(4))
    downscaler = downscaler_of(samples)
    for field in (downscaler(samples, inputs), downscaler.interpolated(samples, block.lr)):
        assert np.isnan(field[:, 0, :3]).all()
        assert np.isfinite(np.delete(field, 0, axis=1)).all()
    expected = interpolate(fill_missing(block.lr), 2, "bicubic")
    np.testing.assert_allclose(downscaler.interpolated(samples, block.lr)[:, 1:], expected[:, 1:], rtol=1e-6)


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Samples]:
    samples = samples_of(waves(16))
    reported: list[tuple[int, int]] = []
    path = tmp_path / "test.nc"
    write_results(path, downscaler_of(samples), samples, lambda *done: reported.append(done), "a title")
    assert reported == [(4, 4)]
    assert [p.name for p in tmp_path.iterdir()] == ["test.nc"]
    return path, samples


def test_results_hold_the_fields_of_the_test_part(results):
    path, samples = results
    with xr.open_dataset(path) as file:
        assert file["hr"].dims == file["downscaled"].dims == file["interpolated"].dims == ("time", "y", "x")
        assert file["lr"].dims == ("time", "y_lr", "x_lr")
        np.testing.assert_array_equal(file["hr"], waves(16)[12:])
        np.testing.assert_array_equal(file["lr"], samples.pairs.lr.values[12:])
        np.testing.assert_array_equal(file["interpolated"], interpolate(file["lr"].values, 2, "bicubic"))
        np.testing.assert_allclose(file["downscaled"], file["interpolated"], rtol=1e-5)
        np.testing.assert_array_equal(file["time"], samples.pairs.times[12:])
        np.testing.assert_array_equal(file["y"], samples.pairs.hr_grid.y)
        np.testing.assert_array_equal(file["x_lr"], samples.pairs.lr_grid.x)


def test_results_say_what_they_are(results):
    path, _ = results
    with xr.open_dataset(path) as file:
        assert (file.attrs["title"], file.attrs["Conventions"]) == ("a title", "CF-1.11")
        for name in ("hr", "downscaled", "interpolated", "lr", "rmse_downscaled", "rmse_interpolated"):
            assert file[name].attrs["units"] == "K"
            assert file[name].dtype == np.float32
        assert file["y"].attrs["standard_name"] == "latitude"
        assert file["hr"].attrs["long_name"] == "HR"


def test_results_on_a_curvilinear_grid_hold_its_places_and_open_again(tmp_path):
    rows, columns = np.mgrid[:8, :8]
    lat, lon = 50 + 0.5 * rows + 0.1 * columns, 0.7 * columns - 0.1 * rows
    grid = CurvilinearGrid(np.arange(8.0), np.arange(8.0), {}, ROW, COLUMN, lat=lat, lon=lon)
    plain = make_pairs(waves(16))
    hr = xr.DataArray(
        plain.hr.values, {"time": plain.times, **coordinates_of(grid)}, plain.hr.dims, "t2m", plain.hr.attrs
    )
    lr = coarsen(hr, 2)
    pairs = dataclasses.replace(plain, hr=hr, lr=lr, hr_grid=grid, lr_grid=grid_of(lr))
    samples = Samples(pairs, fit_normalizer(pairs, "standard"), OPTIONS, pairs.parts.test)
    write_results(tmp_path / "test.nc", downscaler_of(samples), samples, nothing, "a title")
    for name, expected in (("hr", grid), ("lr", grid.coarsen(2)), ("rmse_downscaled", grid)):
        with xr.open_dataset(tmp_path / "test.nc", decode_coords="all") as file:
            assert grid_of(without_suffix(file[name])).is_close_to(expected, 1e-9)
    again = open_field(Source(str(tmp_path / "test.nc"), "downscaled"))
    assert grid_of(again).is_close_to(grid, 1e-9)
    assert grid_of(open_field(Source(str(tmp_path / "test.nc"), "lr"))).is_close_to(grid.coarsen(2), 1e-9)


def test_results_hold_the_rmse_of_each_cell(results):
    path, _ = results
    with xr.open_dataset(path) as file:
        for name in ("downscaled", "interpolated"):
            expected = np.sqrt(((file[name].astype(float) - file["hr"]) ** 2).mean("time"))
            np.testing.assert_allclose(file[f"rmse_{name}"], expected, rtol=1e-5)
            np.testing.assert_allclose(file[f"rmse_{name}"], pixel_rmse(file, name), rtol=1e-6)


def drawn_downscaler(samples: Samples, members: int, bound: str = "linear") -> Downscaler:
    """Monte Carlo dropout in a network whose output isn't zero any more."""
    keras.utils.set_random_seed(0)
    options = MODEL.replace(dropout_rate=0.3, dropout_variant="mc_vanilla", members=members, output_activation=bound)
    output = Output.of(options, samples.normalizer, samples.pairs.interpolation)
    network = build(options, Shape(4, 4, samples.channels, 0, 2), output)
    kernel, bias = network.get_layer("output").get_weights()
    network.get_layer("output").set_weights([np.random.default_rng(0).normal(size=kernel.shape), bias])
    return Downscaler.of([network], Spec(OPTIONS, options), samples)


def test_monte_carlo_dropout_gives_the_mean_of_its_members_and_their_spread():
    samples = samples_of(waves(16))
    inputs, _ = samples.read(np.arange(4))
    downscaler = drawn_downscaler(samples, 5)
    (whole,) = plan_tiles((4, 4), 2, None)
    members = [downscaler._predict_tile(samples, inputs, whole)[0] for _ in range(5)]
    fields = drawn_downscaler(samples, 5).fields(samples, inputs)  # the same seed draws the same members
    np.testing.assert_allclose(fields["downscaled"], np.mean(members, axis=0), rtol=1e-6)
    np.testing.assert_allclose(fields["spread"], np.std(members, axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    assert fields["spread"].mean() > 0.01
    assert {field.dtype for field in fields.values()} == {np.dtype(np.float32)}
    single = drawn_downscaler(samples, 1).fields(samples, inputs)
    assert not single["spread"].any()
    np.testing.assert_allclose(single["downscaled"], members[0], rtol=1e-6)


def test_members_of_several_networks_are_those_of_each():
    samples = samples_of(waves(16))
    inputs, _ = samples.read(np.arange(4))
    networks = [drawn_downscaler(samples, 3).networks[0] for _ in range(2)]
    networks[1].get_layer("output").bias.assign([0.5])
    fields = [Downscaler.of([network], PLAIN, samples)(samples, inputs) for network in networks]
    both = Downscaler.of(networks, PLAIN, samples)
    assert both.members == 2
    members = both.fields(samples, inputs)
    np.testing.assert_allclose(members["downscaled"], np.mean(fields, axis=0), rtol=1e-6)
    np.testing.assert_allclose(members["spread"], np.std(fields, axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    assert fields[0].mean() != pytest.approx(fields[1].mean(), rel=1e-6)
    assert dataclasses.replace(both, draws=3).predict_members(samples, inputs).shape == (6, 4, 8, 8)


def test_without_monte_carlo_dropout_a_prediction_is_always_the_same():
    samples = samples_of(waves(16))
    inputs, _ = samples.read(np.arange(4))
    drawn = drawn_downscaler(samples, 5)
    plain = Downscaler(drawn.networks, "linear")
    np.testing.assert_array_equal(plain(samples, inputs), plain(samples, inputs))
    assert list(plain.fields(samples, inputs)) == ["downscaled"]
    assert (drawn(samples, inputs) != plain(samples, inputs)).any()
    assert Downscaler.of(drawn.networks, PLAIN, samples).members == 0


@pytest.mark.parametrize("standard_name", ["air_temperature", "precipitation_flux"])
def test_the_spread_stands_beside_the_downscaled_field(tmp_path, standard_name):
    hr = waves(64)
    hr[:, 0, :3] = np.nan
    samples = samples_of(hr, standard_name=standard_name)
    ensemble = EnsembleSums()
    write_results(tmp_path / "test.nc", drawn_downscaler(samples, 3), samples, nothing, "a title", ensemble)
    write_downscaled(tmp_path / "new.nc", drawn_downscaler(samples, 3), samples, "new")
    with xr.open_dataset(tmp_path / "test.nc") as file, xr.open_dataset(tmp_path / "new.nc") as new:
        spread = file["spread"]
        assert (spread.dims, spread.dtype, spread.attrs["units"]) == (("time", "y", "x"), np.float32, "K")
        assert spread.attrs["cell_methods"] == "realization: standard_deviation"
        assert spread.attrs["comment"] == "over 3 members"
        difference = {"air_temperature": "temperature: difference"}.get(standard_name)
        assert spread.attrs.get("units_metadata") == difference
        assert spread.attrs["long_name"] == f"spread of {standard_name}"
        assert np.isnan(spread[:, 0, :3]).all()
        assert (spread[:, 1:] > 0).all()
        xr.testing.assert_equal(spread, new["spread"])
        assert set(score(file).to_plain()) == {"downscaled", "interpolated"}
        expected = np.sqrt(4 / 3 * (spread**2).mean() / ((file["downscaled"] - file["hr"]) ** 2).mean())
        assert ensemble.scores().spread_error_ratio == pytest.approx(float(expected), rel=1e-4)
        assert ensemble.count == np.isfinite(file["hr"]).sum()
        assert "lower" not in file
    calibrated = drawn_downscaler(samples, 3).calibrate(
        samples
    )  # on the steps that are written, so nine of ten lie within
    ensemble = EnsembleSums()
    write_results(tmp_path / "calibrated.nc", calibrated, samples, nothing, "a title", ensemble)
    with xr.open_dataset(tmp_path / "calibrated.nc") as file:
        within = (file["hr"] >= file["lower"]) & (file["hr"] <= file["upper"])
        counted = float(within.sum() / np.isfinite(file["hr"]).sum())
        assert ensemble.scores().calibrated.coverage == pytest.approx(counted)
        assert counted > 0.8
        assert "split conformal" in file["upper"].attrs["comment"]
        assert file["lower"].attrs["long_name"] == f"lower bound of the 90% interval of {standard_name}"
        assert np.isnan(file["upper"][:, 0, :3]).all()
        assert ((file["lower"] <= file["downscaled"]) | np.isnan(file["hr"])).all()
    write_results(tmp_path / "plain.nc", downscaler_of(samples), samples, nothing, "a title")
    with xr.open_dataset(tmp_path / "plain.nc") as file:
        assert "spread" not in file


def test_batches_cover_the_part_and_change_nothing(results, tmp_path, monkeypatch):
    path, samples = results
    monkeypatch.setattr(predict, "HR_CELLS_AT_ONCE", 3 * 64)
    assert [rows.tolist() for rows in batches(samples)] == [[0, 1, 2], [3]]
    write_results(tmp_path / "again.nc", downscaler_of(samples), samples, nothing, "a title")
    with xr.open_dataset(path) as one, xr.open_dataset(tmp_path / "again.nc") as other:
        xr.testing.assert_allclose(one, other, rtol=1e-6)
    monkeypatch.setattr(predict, "HR_CELLS_AT_ONCE", 1)
    assert [rows.tolist() for rows in batches(samples)] == [[0], [1], [2], [3]]


def test_new_data_have_no_hr(tmp_path):
    samples = samples_of(waves(16))
    write_downscaled(tmp_path / "new.nc", downscaler_of(samples), samples, "new")
    with xr.open_dataset(tmp_path / "new.nc") as file:
        assert {"lr", "interpolated", "downscaled"} <= set(file.data_vars)
        assert not {"hr", "rmse_downscaled"} & set(file.data_vars)
        assert np.isfinite(file["downscaled"]).all()


def new_lr(samples: Samples) -> Samples:
    """The test part with LR missing in cell (1, 2) of its first step, and everywhere in its second."""
    lr = samples.pairs.lr.copy(data=samples.pairs.lr.values.copy())
    lr[12, 1, 2] = lr[13] = np.nan
    return dataclasses.replace(samples, pairs=dataclasses.replace(samples.pairs, lr=lr))


@pytest.mark.parametrize("is_old_run", [False, True])
def test_nothing_is_downscaled_where_lr_is_missing(tmp_path, is_old_run):
    samples = new_lr(samples_of(waves(16)))
    if is_old_run:
        normalizer = dataclasses.replace(samples.normalizer, lr_mask=None)
        samples = dataclasses.replace(samples, normalizer=normalizer)
    notes = write_downscaled(tmp_path / "new.nc", downscaler_of(samples), samples, "new")
    missing = np.zeros((4, 8, 8), bool)
    missing[0, 2:4, 4:6] = missing[1] = True  # the HR cells of LR cell (1, 2) at scale 2
    with xr.open_dataset(tmp_path / "new.nc") as file:
        for name in ("downscaled", "interpolated"):
            np.testing.assert_array_equal(np.isnan(file[name]), missing)
        np.testing.assert_array_equal(file["lr"], samples.pairs.lr[12:])
    assert notes == (  # 1 + 16 of 4 × 16
        "17 LR cells (26.6%) have no value, so nothing is downscaled there; "
        "1 of 4 steps have no LR, or no value of a predictor, at all",
    )


def test_where_lr_never_had_a_value_the_nearest_one_is_taken_as_in_training(tmp_path):
    hr, lr = waves(16), waves(16, 4, 4)
    lr[:, 0, 0] = np.nan
    samples = samples_of(hr, lr=lr)
    assert write_downscaled(tmp_path / "new.nc", downscaler_of(samples), samples, "new") == ()
    with xr.open_dataset(tmp_path / "new.nc") as file:
        assert np.isfinite(file["downscaled"]).all()


def test_a_step_without_any_value_of_a_predictor_is_missing(tmp_path):
    predictor = waves(16, 4, 4)
    predictor[14] = np.nan
    predictor[15, 0] = np.nan  # in part, as over land
    samples = samples_of(waves(16), predictors=[predictor])
    notes = write_downscaled(tmp_path / "new.nc", downscaler_of(samples), samples, "new")
    with xr.open_dataset(tmp_path / "new.nc") as file:
        np.testing.assert_array_equal(np.isnan(file["downscaled"]).all(("y", "x")), [False, False, True, False])
        assert np.isfinite(file["downscaled"][3]).all()
    assert notes[0].startswith("16 LR cells (25.0%) have no value")


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path):
    samples, path = samples_of(waves(16)), tmp_path / "test.nc"
    path.write_bytes(b"old")

    def fail(done: int, total: int) -> None:
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        write_results(path, downscaler_of(samples), samples, fail, "a title")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["test.nc"]
