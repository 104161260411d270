"""Verification of a results file: by hand from its values, on odd grids and calendars, and when it can't be written."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import xarray as xr

from engine import run as engine_run
from engine.cli import main
from engine.data.grids import LATITUDE, LONGITUDE
from engine.data.netcdf import open_netcdf
from engine.errors import DataError
from engine.evaluation import scores
from engine.evaluation.moments import CELL_SCORES
from engine.evaluation.verification import SEASONS, summary, to_text, verify, write_verification
from engine.files import read_json, write_whole
from engine.runs import Run, Store
from engine.spec import Spec

NAN = np.nan
PRODUCTS = ("interpolated", "downscaled")


def results(
    times: int = 24, ny: int = 12, nx: int = 16, *, calendar: str = "standard", freq: str = "ME", seed: int = 0
) -> xr.Dataset:
    """What test.nc holds: HR on cells of 0.25°, the interpolated field far from it, the downscaled one nearer."""
    rng = np.random.default_rng(seed)
    hr = 280 + 4 * rng.normal(size=(times, ny, nx))
    values = {"hr": hr, "interpolated": hr + 1 + 2 * rng.normal(size=hr.shape), "downscaled": hr - 0.1}
    values["downscaled"] += 0.5 * rng.normal(size=hr.shape)
    coords = {
        "time": xr.date_range("2001-01-01", periods=times, freq=freq, calendar=calendar, use_cftime=None),
        "y": ("y", 55 + 0.25 * np.arange(ny), LATITUDE),
        "x": ("x", 0.25 * np.arange(nx), LONGITUDE),
    }
    attrs = {"units": "K", "standard_name": "air_temperature"}
    return xr.Dataset({k: (("time", "y", "x"), v.astype("f4"), attrs) for k, v in values.items()}, coords)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a test part, made before there was a verification."""
    plain = {"version": 1, "data": {"target": {"path": str(tmp_path / "hr.nc")}, "scale": 4}}
    run = Store(tmp_path / "runs").create(Spec.from_plain(plain), {})
    results().to_netcdf(run.results)
    for name in ("scores.json", "manifest.json"):
        write_whole(run.results.with_name(name), "{}")
    write_whole(run.done_file, "{}")
    return run


def test_scores_are_those_that_the_files_values_give(monkeypatch):
    data = results()
    data["hr"][3, 4, 5] = data["downscaled"][7, :, 2] = data["interpolated"][:, 8, 8] = NAN
    monkeypatch.setattr(scores, "CELLS_AT_ONCE", 5 * 12 * 16)  # blocks of five steps
    got = verify(data)
    valid = np.isfinite(data.to_array()).all("variable")
    areas = np.cos(np.deg2rad(data["y"])) * xr.ones_like(data["x"])  # of equally spaced cells, to a constant
    for season in ("all", *SEASONS):
        steps = valid if season == "all" else valid & (data["time"].dt.season == season)
        weights = (steps * areas).values
        np.testing.assert_array_equal(got["compared_steps"].sel(season=season), steps.sum("time"))
        for product in PRODUCTS:
            at = {"season": season, "product": product}
            error = (data[product].astype(float) - data["hr"]).where(steps)
            np.testing.assert_allclose(got["rmse"].sel(at), np.sqrt((error**2).mean("time")), rtol=1e-6)
            np.testing.assert_allclose(got["bias"].sel(at), error.mean("time"), rtol=1e-4, atol=1e-5)
            correlation = xr.corr(data["hr"].astype(float).where(steps), data[product].where(steps), dim="time")
            np.testing.assert_allclose(got["pearson"].sel(at), correlation, rtol=1e-5)
            squares = np.average(np.nan_to_num(error.values) ** 2, weights=weights)
            assert got["area_rmse"].sel(at).item() == pytest.approx(np.sqrt(squares), rel=1e-5)
            quantiles = [
                np.quantile(data[name].values[steps], got["quantile"], weights=weights[steps], method="inverted_cdf")
                for name in (product, "hr")
            ]
            np.testing.assert_allclose(got["quantile_bias"].sel(at), quantiles[0] - quantiles[1], atol=0.01)
    assert "spectra_left_out" not in got.attrs


def test_rmse_is_the_one_that_stands_in_the_results():
    data = results()
    data["hr"][:, 0, 0] = NAN
    got = verify(data)["rmse"].sel(season="all")
    for product in PRODUCTS:
        np.testing.assert_allclose(got.sel(product=product), scores.pixel_rmse(data, product), rtol=1e-6)


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "julian"])
def test_seasons_of_odd_calendars(calendar, tmp_path):
    results(360, calendar=calendar, freq="D").to_netcdf(tmp_path / "test.nc")
    write_verification(tmp_path / "test.nc", tmp_path / "verification.nc")
    with xr.open_dataset(tmp_path / "verification.nc") as got:
        days = got["compared_steps"][:, 0, 0].values.tolist()
    # A year from January on; noleap and julian lack the last five days of December.
    assert days == ([360, 90, 90, 90, 90] if calendar == "360_day" else [360, 85, 92, 92, 91])


def test_a_perfect_product_a_single_step_and_no_values_at_all():
    data = results(1)
    data["downscaled"] = data["hr"].copy()
    got = verify(data)
    numbers = summary(got)["all"]["downscaled"]
    assert [numbers[name] for name in ("mae", "rmse", "bias", "q50_bias")] == [0, 0, 0, 0]
    assert all(np.isnan(numbers[name]) for name in ("pearson", "std_ratio", "kling_gupta"))
    np.testing.assert_allclose(got["coherence"].sel(product="downscaled"), 1)
    assert numbers["resolution"] == pytest.approx(1 / got["wavenumber"][-1].item())
    empty = verify(xr.full_like(results(), NAN))
    assert all(np.isnan(empty[name]).all() for name in CELL_SCORES)
    assert "no values to compare" in to_text(empty)


@pytest.mark.parametrize(("ny", "nx", "why"), [(1, 1, "8 × 8 cells"), (3, 40, "has 3 × 40"), (12, 16, "equally")])
def test_grids_without_spectra_keep_their_scores(ny, nx, why, tmp_path):
    data = results(ny=ny, nx=nx)
    if why == "equally":
        data = data.assign_coords(y=("y", np.geomspace(40, 60, ny), LATITUDE))
    data.to_netcdf(tmp_path / "test.nc")
    write_verification(tmp_path / "test.nc", tmp_path / "verification.nc")
    with xr.open_dataset(tmp_path / "verification.nc") as got:
        assert np.isfinite(got["rmse"].sel(season="all")).all()
        assert why in got.attrs["spectra_left_out"]
        assert why in to_text(got)


def test_the_file_is_described_in_the_targets_unit(tmp_path):
    results().to_netcdf(tmp_path / "test.nc")
    write_verification(tmp_path / "test.nc", tmp_path / "verification.nc")
    with xr.open_dataset(tmp_path / "verification.nc") as got:
        assert got["rmse"].dims == ("season", "product", "y", "x")
        assert got["product"].values.tolist() == list(PRODUCTS)
        assert (got["rmse"].attrs["units"], got["pearson"].attrs["units"], got["power"].attrs["units"]) == (
            "K",
            "1",
            "(K)2",
        )
        assert got["bias"].attrs["units_metadata"] == "temperature: difference"
        assert got["effective_resolution"].attrs["units"] == "km"
    assert [path.name for path in tmp_path.iterdir()].count("verification.nc") == len(list(tmp_path.iterdir())) - 1


def test_verify_writes_the_file_of_an_old_run_and_prints_a_table(run, capsys):
    before = run.results.read_bytes()
    assert main(["verify", run.id, "--store", str(run.folder.parent)]) == 0
    text = capsys.readouterr().out
    with open_netcdf(run.verification) as got:
        rmse = got["area_rmse"].sel(season="all", product="downscaled").item()
    assert f"{rmse:.4g}" in next(line for line in text.splitlines() if line.startswith("all     downscaled"))
    assert run.results.read_bytes() == before
    assert list(read_json(run.results.with_name("manifest.json"))) == ["verification.nc"]
    with pytest.raises(DataError, match="no downscaled"):
        verify(results().drop_vars("downscaled"))


def test_all_tables_come_as_csv_and_as_latex(run, capsys):
    with xr.open_dataset(run.results, engine="netcdf4") as file:
        days = file.load()
    days["time"] = xr.date_range("2001-01-01", periods=len(days["time"]), freq="D")
    for name in ("hr", "interpolated", "downscaled"):
        days[name].attrs |= {"units": "mm day-1", "standard_name": "precipitation_flux"}
    days.to_netcdf(run.results, engine="netcdf4")
    words = ["verify", run.id, "--store", str(run.folder.parent), "--threshold", "1"]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)[run.id]
    assert main([*words, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    values = {(row["table"], row["of"], row["product"], row["number"]): row["value"] for row in rows}
    assert len(values) == len(rows)
    assert float(values["scores", "all", "downscaled", "rmse"]) == facts["all"]["downscaled"]["rmse"]
    assert float(values["exceedance", "1", "downscaled", "csi"]) == facts["exceedance"]["1"]["downscaled"]["csi"]
    wettest = float(days["hr"].max("time").weighted(np.cos(np.deg2rad(days["y"]))).mean())
    assert float(values["indices", "rx1day", "hr", "2001"]) == pytest.approx(wettest, rel=1e-5)
    assert float(values["plausibility", "", "hr", "highest"]) == float(days["hr"].max())
    assert main([*words, "--latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 4
    assert r"frequency\_bias" in latex
    assert main([*words, "--latex", "--csv"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_run_without_results_is_refused(run, capsys):
    run.results.unlink()
    assert main(["verify", run.id, "--store", str(run.folder.parent)]) == 2
    assert "has no results yet" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("NetCDF: HDF error")])
def test_a_verification_that_fails_is_logged_and_loses_nothing(error, run, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    run.verification.write_bytes(b"of an earlier evaluation")
    before = run.results.read_bytes()
    monkeypatch.setattr("engine.evaluation.verification.write_netcdf", fail)
    engine_run.verify_results(run)
    assert f"later: python -m engine verify {run.id}" in capsys.readouterr().out
    assert {path.name for path in run.results.parent.iterdir()} == {"test.nc", "scores.json", "manifest.json"}
    assert run.results.read_bytes() == before


def test_fields_too_large_for_the_runs_memory_are_left_to_the_command(run, capsys, monkeypatch):
    monkeypatch.setattr(engine_run, "HR_CELLS_AT_ONCE", 12 * 16 - 1)
    engine_run.verify_results(run)
    assert f"192 cells takes 3 kB each, so it is left to: python -m engine verify {run.id}" in capsys.readouterr().out
    assert not run.verification.exists()
