"""Baselines against NumPy, SciPy and xarray; fitted on the training part alone; in a file like the network's fields."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.resample import interpolate
from engine.data.samples import Samples
from engine.evaluation import baselines, cell_blocks
from engine.evaluation.baseline_file import write_baselines
from engine.evaluation.baselines import QuantileMapping, Steps, fit_baselines
from engine.evaluation.pc_regression import PcRegression
from engine.evaluation.products import BASELINES, START_RUN, open_products, products_of
from engine.evaluation.scores import score
from engine.evaluation.tables import shortfall
from engine.evaluation.verification import verify
from engine.spec import DataOptions
from tests.engine.small_pairs import make_pairs, waves

NAN = np.nan
FITTED = [name for name in BASELINES if name != START_RUN]  # of a run that didn't start from another
DAYS = xr.date_range("2001-01-01", periods=240, freq="D")


def daily(**given) -> Pairs:
    """240 days: 120 train (January to April), 60 validate, 60 test (July, August)."""
    return make_pairs(waves(240), times=DAYS, **given)


def steps_of(pairs: Pairs, part: np.ndarray) -> Steps:
    return Steps.read(pairs, fit_normalizer(pairs, "standard"), part)


def fields_of(pairs: Pairs, part: np.ndarray) -> dict[str, np.ndarray]:
    """Fields (step, cell) of all baselines in some steps."""
    fitted, _ = fit_baselines(pairs, fit_normalizer(pairs, "standard"))
    return {name: baseline(steps_of(pairs, part)) for name, baseline in fitted.items()}


def test_interpolations_are_those_that_the_run_does_not_have():
    pairs = daily(interpolation="bilinear")
    got = fields_of(pairs, pairs.parts.test)
    assert list(got) == ["nearest", *(name for name in FITTED if name not in ("nearest", "bilinear"))]
    lr = pairs.lr.values[pairs.parts.test]
    np.testing.assert_array_equal(got["nearest"], lr.repeat(2, 1).repeat(2, 2).reshape(60, -1))
    np.testing.assert_allclose(got["bicubic"], interpolate(lr, 2, "bicubic").reshape(60, -1), rtol=1e-6)


def test_climatology_and_bias_are_monthly_means_of_the_training_part(monkeypatch):
    monkeypatch.setattr(cell_blocks, "VALUES_AT_ONCE", 120 * 7)  # seven cells at a time
    pairs = daily()
    pairs.hr[5:9, 2, 3] = NAN  # January keeps 27 of its 31 values there: too few
    train, test = pairs.parts.train, np.arange(20, 70)  # January to March
    error = xr.DataArray(interpolate(pairs.lr.values, 2, "bicubic"), pairs.hr.coords, pairs.hr.dims) - pairs.hr
    got = fields_of(pairs, test)
    for field, name, sign in ((pairs.hr, "climatology", 1), (error, "bias_corrected", -1)):
        learned = field[train].astype(float)
        monthly = learned.groupby("time.month").mean()
        counts = learned.groupby("time.month").count()
        means = xr.where(counts >= 30, monthly, learned.mean("time"))  # February (28) takes all steps, and that cell
        expected = means.sel(month=pairs.times[test].dt.month).transpose("time", "y", "x").values.reshape(50, -1)
        base = 0 if sign == 1 else interpolate(pairs.lr.values[test], 2, "bicubic").reshape(50, -1)
        np.testing.assert_allclose(got[name], base + sign * expected, rtol=2e-6)


def test_quantile_mapping_is_the_one_of_numpy_and_keeps_the_outermost_correction():
    rng = np.random.default_rng(0)
    interpolated, hr = rng.gamma(2, size=(300, 3)).astype("f4"), rng.gamma(3, 2, size=(300, 3)).astype("f4")
    hr[:40, 1] = NAN
    levels = np.arange(1, 100) / 100
    mapping = QuantileMapping.fit(steps_with(hr, interpolated))
    values = np.linspace(-1, 15, 60, dtype="f4")[:, None].repeat(3, 1)
    got = mapping(steps_with(values, values))
    for cell in range(3):
        valid = np.isfinite(hr[:, cell])
        ours, theirs = (np.quantile(field[valid, cell], levels) for field in (interpolated, hr))
        expected = np.interp(values[:, cell], ours, theirs)
        expected += np.minimum(values[:, cell] - ours[0], 0) + np.maximum(values[:, cell] - ours[-1], 0)
        np.testing.assert_allclose(got[:, cell], expected, atol=1e-5)


def test_quantile_mapping_leaves_dry_days_dry_and_a_cell_without_hr_alone():
    hr = np.tile(np.repeat([0.0, 1.0], [40, 60])[:, None], 2).astype("f4")  # dry in 40 %
    interpolated = np.tile(np.repeat([0.0, 2.0], [60, 40])[:, None], 2).astype("f4")  # in 60 %
    hr[:, 1] = NAN
    got = QuantileMapping.fit(steps_with(hr, interpolated))(steps_with(interpolated, interpolated))
    np.testing.assert_allclose(got[:, 0], np.repeat([0.0, 1.0], [60, 40]))
    np.testing.assert_allclose(got[:, 1], interpolated[:, 1])


@pytest.mark.parametrize("length", [12, 150])  # vectors shorter and longer than there are steps
def test_pc_regression_is_least_squares_on_the_leading_components(length):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(120, 6)) @ rng.normal(size=(6, length)) + 0.1 * rng.normal(size=(120, length))
    vectors = (3 + vectors).astype("f4")
    hr = (280 + vectors[:, :4] + rng.normal(size=(120, 4))).astype("f4")
    hr[7:14, 2], hr[:115, 3] = NAN, NAN  # gaps, and too few values: the mean of those there are
    new = vectors[:9] + 0.5
    model = PcRegression.fit(vectors, hr, 0.0)
    assert model.n_components == 12  # a tenth of the steps
    got = model(new)
    for cell in range(4):
        valid = np.isfinite(hr[:, cell])
        number = 12 if valid.all() else 10
        mean = vectors.astype(float).mean(0)
        components = np.linalg.svd(vectors - mean, full_matrices=False)[2][:number].T
        design = np.column_stack([np.ones(120), (vectors - mean) @ components])
        if cell == 3:
            expected = np.full(9, np.nanmean(hr[:, 3]))
        else:
            weights = np.linalg.lstsq(design[valid], hr[valid, cell].astype(float))[0]
            expected = np.column_stack([np.ones(9), (new - mean) @ components]) @ weights
        np.testing.assert_allclose(got[:, cell], expected, atol=2e-3)


def test_the_number_of_components_is_the_best_one_of_the_validation_part():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(400, 40)).astype("f4") * np.repeat([30, 1], [3, 37]).astype("f4")
    hr = (vectors[:, :3] @ rng.normal(size=(3, 5)) + 2 * rng.normal(size=(400, 5))).astype("f4")  # of three patterns
    fitted = PcRegression.fit(vectors[:300], hr[:300], 0.0)
    assert fitted.n_components == 30
    chosen = fitted.choose(vectors[300:], hr[300:])
    assert chosen.n_components == 5
    assert np.mean((chosen(vectors[300:]) - hr[300:]) ** 2) < np.mean((fitted(vectors[300:]) - hr[300:]) ** 2)


def test_nothing_is_learned_from_the_test_part():
    pairs = daily()
    before = fields_of(pairs, pairs.parts.test)
    learned = fit_normalizer(pairs, "standard")
    changed = dataclasses.replace(pairs, hr=pairs.hr.copy(data=pairs.hr.values.copy()))
    changed.hr[180:] += 50
    fitted, _ = fit_baselines(changed, learned)
    for name, baseline in fitted.items():
        np.testing.assert_array_equal(baseline(steps_of(pairs, pairs.parts.test)), before[name])


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Pairs]:
    """baselines.nc of rain with a sea, and LR that is missing in a cell, and in a step."""
    rain = np.maximum(waves(240) - 280, 0).astype("f4")
    rain[:, 0, :3] = NAN
    lr = rain.reshape(240, 4, 2, 4, 2).mean((2, 4))
    lr[:, 0, 0] = 0.1
    lr[:, 0, 1] = 0.1
    lr[180, 1, 2] = lr[181] = NAN
    pairs = make_pairs(rain, lr=lr, times=DAYS)
    samples = Samples(
        pairs, fit_normalizer(pairs, "standard"), DataOptions(target={"path": "hr.nc"}, scale=2), pairs.parts.test
    )
    notes = write_baselines(tmp_path / "baselines.nc", pairs, samples, "relu", "of a run")
    assert notes[-1].startswith("PC regression: ")
    return tmp_path, pairs


def test_the_file_has_the_mask_the_gaps_and_the_bound_of_the_network(written):
    folder, _ = written
    missing = np.zeros((60, 8, 8), bool)
    missing[:, 0, :3] = missing[0, 2:4, 4:6] = missing[1] = True
    with xr.open_dataset(folder / "baselines.nc") as file:
        assert list(file.data_vars) == [name for name in FITTED if name != "bicubic"]
        for name, field in file.data_vars.items():
            assert (field.dims, field.dtype, field.attrs["units"]) == (("time", "y", "x"), np.float32, "K")
            assert field.attrs["long_name"] == BASELINES[name]
            np.testing.assert_array_equal(np.isnan(field), missing)
            assert np.nanmin(field) >= 0
        assert np.nanmin(file["bias_corrected"]) == 0.0
        assert file.attrs["Conventions"] == "CF-1.11"


def test_scores_and_verification_take_them_as_products(written):
    folder, pairs = written
    hr = pairs.hr[pairs.parts.test]
    fields = {"hr": hr, "interpolated": hr + 1, "downscaled": hr + 0.5}
    xr.Dataset(fields).drop_vars("crs", errors="ignore").to_netcdf(folder / "test.nc")
    with open_products(folder / "test.nc") as results:
        scores, verification = score(results), verify(results)
        names = ("interpolated", "downscaled", *(name for name in FITTED if name != "bicubic"))
        assert products_of(results) == names == tuple(verification["product"].values)
        error = (results["pc_regression"] - results["hr"]).astype(float)
        rmse = np.sqrt((error**2).mean(("y", "x"))).mean().item()
    assert scores.baselines["pc_regression"]["rmse"].mean == pytest.approx(rmse, rel=1e-5)
    plain = scores.to_plain()
    assert list(plain) == ["downscaled", "interpolated", *names[2:]]
    assert type(scores).from_plain(plain) == scores
    assert shortfall(scores) == f"does not beat PC regression: 0.500 against {rmse:.3f}"
    better = dataclasses.replace(
        scores, downscaled=scores.baselines["pc_regression"] | {"rmse": scores.downscaled["mae"]}
    )
    assert shortfall(dataclasses.replace(better, baselines={})) == ""


def test_few_steps_and_little_memory_are_said(monkeypatch):
    pairs = make_pairs(waves(40))
    fitted, notes = fit_baselines(pairs, fit_normalizer(pairs, "standard"))
    assert list(fitted) == ["nearest", "bilinear", "climatology", "bias_corrected"]
    assert notes == ("no quantile mapping and no PC regression: 20 training steps are too few",)
    monkeypatch.setattr(baselines, "BUDGET_BYTES", 40 * 4 * (2 * 64 + 3 * 16))
    _, notes = fit_baselines(daily(), fit_normalizer(daily(), "standard"))
    assert notes[0] == "baselines are fitted on 40 of 120 steps"


def steps_with(hr: np.ndarray, interpolated: np.ndarray) -> Steps:
    nothing = np.zeros((len(hr), 1), np.float32)
    return Steps(hr, nothing, interpolated, nothing, np.ones(len(hr), int))


def test_eobs_temperature_from_ncep_has_the_rmse_of_the_reference(shared_data):
    """shared/data/README.md: interpolated bilinearly 2.73, each cell's bias off 2.00, 40 components 1.63 °C."""
    hr = xr.load_dataset(shared_data / "eobs_iberia_tas.nc")["tg"]
    names = {"tas": "tas", "psl": "psl", "hus850": "hus", "ta850": "ta"}
    given = {name: xr.load_dataset(shared_data / f"ncep_iberia_{name}.nc")[key] for name, key in names.items()}
    land = np.isfinite(hr.values).any(axis=0)
    values = hr.values[:, land]
    interpolated = given["tas"].interp(lat=hr["lat"], lon=hr["lon"], kwargs={"fill_value": "extrapolate"})
    interpolated = interpolated.values[:, land].astype("f4")
    learned, test = slice(0, 1263), slice(1444, 1805)  # 0.7 and 0.8 of 1805 days

    def rmse(field: np.ndarray) -> float:
        return float(np.sqrt(np.mean((field.astype(float) - values[test]) ** 2)))

    assert rmse(interpolated[test]) == pytest.approx(2.73, abs=0.01)
    one_month = np.zeros(1263, int) + 1
    bias = baselines.monthly_means(interpolated[learned] - values[learned], one_month, 0.0)[0]
    assert rmse(interpolated[test] - bias) == pytest.approx(2.00, abs=0.01)
    vectors = []
    for field in given.values():
        flat = field.values.reshape(len(field), -1)
        vectors.append((flat - flat[learned].mean(0)) / flat[learned].std(0))
    vectors = np.concatenate(vectors, axis=1).astype("f4")
    fitted = PcRegression.fit(vectors[learned], values[learned], 0.0)
    assert rmse(fitted.first(40)(vectors[test])) == pytest.approx(1.63, abs=0.01)
    ncep = [{"path": str(shared_data / f"ncep_iberia_{name}.nc"), "variable": key} for name, key in names.items()]
    options = DataOptions(
        target={"path": str(shared_data / "eobs_iberia_tas.nc"), "variable": "tg"}, pairing="mos", lr=ncep[0],
        predictors=ncep[1:], scale=5, split={"train": 0.7, "validation": 0.1, "test": 0.2},
    )  # fmt: skip
    pairs = pair(options)
    got = fields_of(pairs, pairs.parts.test)
    assert rmse(got["bias_corrected"]) < 2.0  # by month
    assert rmse(got["pc_regression"]) < 1.63  # from fields on the LR grid
