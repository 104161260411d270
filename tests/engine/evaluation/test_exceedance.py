"""Exceedance of thresholds: by hand from small fields, and fractions skill scores by SciPy's moving windows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import uniform_filter

from engine.cli import main
from engine.errors import DataError
from engine.evaluation import scores
from engine.evaluation.exceedance import exceedance, summary, to_text
from engine.runs import Store
from engine.spec import Spec

NAN = np.nan


def results(hr: np.ndarray, downscaled: np.ndarray, interpolated: np.ndarray | None = None) -> xr.Dataset:
    """What test.nc holds, on cells of 2 km."""
    values = {"hr": hr, "interpolated": hr if interpolated is None else interpolated, "downscaled": downscaled}
    steps, ny, nx = hr.shape
    coords = {
        "time": xr.date_range("2001-01-01", periods=steps, freq="D"),
        "y": ("y", 2.0 * np.arange(ny), {"standard_name": "projection_y_coordinate", "units": "km"}),
        "x": ("x", 2.0 * np.arange(nx), {"standard_name": "projection_x_coordinate", "units": "km"}),
    }
    coords["crs"] = ((), 0, {"grid_mapping_name": "lambert_conformal_conic"})
    attrs = {"units": "mm", "grid_mapping": "crs"}
    return xr.Dataset({k: (("time", "y", "x"), v.astype("f4"), attrs) for k, v in values.items()}, coords)


def test_contingency_by_hand():
    hr = np.array([[[5, 5, 0, 0], [1, 0, NAN, 9]]])
    product = np.array([[[5, 0, 5, 0], [1, 0, 9, 9]]])
    got = exceedance(results(hr, product), [5, 20]).sel(product="downscaled")
    # From 5 on, HR has three events, the product three, two of them in common; the cell without HR isn't compared.
    at = {"threshold": 5.0}
    assert got["pod"].sel(at) == pytest.approx(2 / 3)
    assert got["far"].sel(at) == pytest.approx(1 / 3)
    assert got["csi"].sel(at) == pytest.approx(2 / 4)
    assert got["frequency_bias"].sel(at) == 1
    assert got["hr_share"].sel(at) == pytest.approx(3 / 7)
    never = got.sel(threshold=20.0)
    assert all(np.isnan(never[name]).all() for name in ("pod", "far", "csi", "frequency_bias", "fss"))


def test_an_event_begins_at_the_threshold_as_the_file_holds_it():
    field = np.full((1, 3, 3), 0.7)  # in 4 bytes it is 0.69999999
    got = exceedance(results(field, field), [0.7])
    assert float(got["hr_share"].item()) == 1
    assert (got["csi"] == 1).all()
    assert (got["fss"] == 1).all()


def test_fractions_skill_score_is_that_of_moving_windows(monkeypatch):
    rng = np.random.default_rng(3)
    hr, product = rng.gamma(0.5, 4, (2, 6, 20, 24))
    monkeypatch.setattr(scores, "CELLS_AT_ONCE", 2 * 20 * 24)  # blocks of two steps
    got = exceedance(results(hr, product), [2, 8], windows=(1, 3, 9, 21))
    assert got["window"].values.tolist() == [1, 3, 9]  # one of 21 cells doesn't fit
    for threshold in (2, 8):
        for side in (1, 3, 9):
            inside = slice(side // 2, -(side // 2) or None)
            f, o = (
                uniform_filter((field >= threshold).astype(float), (0, side, side))[:, inside, inside]
                for field in (product, hr)
            )
            expected = 1 - ((f - o) ** 2).sum() / ((f**2).sum() + (o**2).sum())
            chosen = {"product": "downscaled", "threshold": threshold, "window": side}
            assert got["fss"].sel(chosen).item() == pytest.approx(expected, abs=1e-9)


def test_windows_leave_missing_cells_out():
    hr, product = np.zeros((2, 1, 3, 3))
    hr[0, 0, 0], hr[0, 1, 2], product[0, 2, 2] = 5, NAN, 5
    got = exceedance(results(hr, product), [1], windows=(3,)).sel(product="downscaled", window=3)
    assert got["fss"].item() == 1  # one event of eight compared cells in both
    hr[0, 1, 1] = NAN  # the middle of the only window
    got = exceedance(results(hr, product), [1], windows=(3,)).sel(product="downscaled", window=3)
    assert np.isnan(got["fss"].item())


def test_a_shifted_field_gains_skill_with_the_window():
    hr = np.zeros((1, 40, 40))
    hr[0, 10:30, 10:14] = 1
    skill = exceedance(results(hr, np.roll(hr, 4, axis=2)), [1]).sel(product="downscaled", threshold=1.0)
    assert skill["csi"].item() == 0
    assert (np.diff(skill["fss"].values) > 0).all()


def test_numbers_and_text():
    hr = np.arange(12.0).reshape(1, 3, 4)
    events = exceedance(results(hr, hr + 1, hr), [6])
    assert summary(events)["6"]["interpolated"]["csi"] == 1
    assert summary(events)["6"]["downscaled"]["frequency_bias"] == pytest.approx(7 / 6)
    text = to_text(events).splitlines()
    assert text[0] == "values at or above a threshold; fss of windows in cells of 2 km:"
    assert text[1].split() == ["threshold", "product", "pod", "far", "csi", "frequency_bias", "fss_1", "fss_3"]
    assert text[3].split()[:6] == ["6", "downscaled", "1.000", "0.143", "0.857", "1.167"]


def test_a_threshold_that_is_no_number_is_refused():
    field = np.zeros((1, 3, 3))
    with pytest.raises(DataError, match="nan"):
        exceedance(results(field, field), [1, NAN])


def test_the_command_scores_thresholds_once_each(tmp_path, capsys):
    plain = {"version": 1, "data": {"target": {"path": str(tmp_path / "hr.nc")}, "scale": 4}}
    run = Store(tmp_path / "runs").create(Spec.from_plain(plain), {})
    hr = np.arange(4 * 12 * 16.0).reshape(4, 12, 16)
    results(hr, hr + 1, hr - 1).to_netcdf(run.results)
    command = ["verify", run.id, "--store", str(run.folder.parent), "--json", "--threshold"]
    assert main([*command, "500", "--threshold", "500"]) == 0
    events = json.loads(capsys.readouterr().out)[run.id]["exceedance"]
    assert list(events) == ["500"]
    assert events["500"]["downscaled"]["frequency_bias"] == pytest.approx(269 / 268)  # of 768 values
    assert main([*command, "inf"]) == 2
    assert "inf" in capsys.readouterr().err
