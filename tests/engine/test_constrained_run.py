"""A constraint from end to end: trained, written, measured and reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.models.constraints import CONSTRAINTS
from tests.engine.data.mock import write_field
from tests.engine.train_here import train_here

SPEC = {
    "version": 1,
    "data": {"target": {"path": "hr.nc"}, "scale": 2},
    "model": {"n_filters": 4, "n_blocks": 1, "localized": False},
    "training": {"epochs": 2, "batch_size": 7, "learning_rate": 0.02},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", CONSTRAINTS)
def test_a_trained_run_keeps_its_constraint_and_says_how_well(form, tmp_path, capsys):
    write_field(tmp_path / "hr.nc", ny=8, nx=12, times=40, missing=0.2)
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**SPEC, "model": {**SPEC["model"], "constraint": form}}))
    run = train_here(path, tmp_path / "runs")
    with xr.open_dataset(run.results) as file:
        results = file.load()
    off, span = violation(results), float(results["hr"].max() - results["hr"].min())
    assert np.isfinite(off).all()
    assert np.abs(off).max() < 1e-4 * span
    answer = json.loads((run.folder / "results" / "scores.json").read_text())["constraint"]
    assert answer["unit"] == "K"
    assert answer["max_violation"] == pytest.approx(np.abs(off).max(), rel=1e-3)
    assert answer["share_of_range"] == pytest.approx(answer["max_violation"] / span, rel=1e-3)
    assert f"{form} constraint: off by at most" in capsys.readouterr().out


def violation(results: xr.Dataset) -> np.ndarray:
    """(time, y_lr, x_lr): mean over 2 × 2 cells of 0.5° by area on the sphere, minus LR."""
    lat = np.deg2rad(results["y"].values)
    areas = np.sin(lat + np.deg2rad(0.25)) - np.sin(lat - np.deg2rad(0.25))
    field = results["downscaled"].astype(float)
    weights = xr.DataArray(areas, dims="y") * np.isfinite(field)
    sums, totals = (f.fillna(0).coarsen(y=2, x=2).sum() for f in (field * weights, weights))
    return (sums / totals).values - results["lr"].values
