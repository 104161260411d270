"""A run of several scales: trained, and through the command line applied at a scale, on a grid and at points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.cli import main
from engine.runs import Run
from tests.engine.data.mock import write_field
from tests.engine.train_here import train_here

pytestmark = pytest.mark.slow
SCALES = {"upsampling": "implicit", "localized": False, "scales": [2, 4]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("data")
    write_field(folder / "hr.nc", ny=16, nx=24, times=24)
    spec = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2},
        "model": {"n_filters": 4, "n_blocks": 1, **SCALES},
        "training": {"epochs": 1},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return train_here(folder / "spec.yaml", folder / "runs")


@pytest.fixture
def lr(run, tmp_path) -> xr.DataArray:
    """LR of the test part, in lr.nc."""
    with xr.open_dataset(run.results, engine="netcdf4") as results:
        field = results["lr"].rename(y_lr="lat", x_lr="lon").load().rename("t2m")
    field.to_netcdf(tmp_path / "lr.nc")
    return field


def downscale(run: Run, folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    paths = [str(folder / "lr.nc"), str(folder / "out.nc")]
    main(["downscale", run.id, *paths, *words, "--overwrite", "--json", "--store", str(run.folder.parent)])
    return json.loads(capsys.readouterr().out)


def test_at_its_own_scale_fields_are_those_of_the_run(run, lr, tmp_path, capsys):
    answer = downscale(run, tmp_path, capsys, "--scale", "2")
    assert answer["notes"][-1] == "scale 2"
    with xr.open_dataset(run.results) as results, xr.open_dataset(tmp_path / "out.nc") as found:
        for name in ("downscaled", "interpolated"):
            np.testing.assert_allclose(found[name], results[name], atol=2e-3, err_msg=name)
            assert found[name].attrs["units"] == results[name].attrs["units"]
        np.testing.assert_allclose(found["x"], results["x"])


def test_at_a_fraction_on_a_grid_and_at_points_there_are_fields(run, lr, tmp_path, capsys):
    assert downscale(run, tmp_path, capsys, "--scale", "2.5")["notes"][-1] == "scale 2.5"
    with xr.open_dataset(tmp_path / "out.nc") as finer:
        finer.load()
    assert finer["downscaled"].shape == (len(lr), 20, 30)  # of 8 × 12
    assert np.isfinite(finer["downscaled"]).all()
    finer["downscaled"].isel(time=0, drop=True).to_netcdf(tmp_path / "grid.nc")
    downscale(run, tmp_path, capsys, "--grid", str(tmp_path / "grid.nc"))
    with xr.open_dataset(tmp_path / "out.nc") as again:
        np.testing.assert_allclose(again["downscaled"], finer["downscaled"], atol=1e-4)
    y, x = (finer[side].values for side in "yx")
    (tmp_path / "points.csv").write_text(f"lat,lon\n{y[3]},{x[4]}\n{y[10]},{x[20]}\n")
    downscale(run, tmp_path, capsys, "--points", str(tmp_path / "points.csv"))
    with xr.open_dataset(tmp_path / "out.nc") as points:
        expected = finer["interpolated"].values[:, [3, 10], [4, 20]]
        np.testing.assert_allclose(points["interpolated"][..., 0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scale", "0.5"], "--scale is 0.5"),
        (["--scale", "0"], "--scale is 0"),
        (["--scale", "2", "--grid", "a.nc"], "not allowed with"),
        (["--points", "missing.csv"], "missing.csv can't be read as points"),
    ],
)
def test_what_is_no_destination_is_refused(run, lr, tmp_path, capsys, words, expected):
    assert expected in downscale(run, tmp_path, capsys, *words)["error"]
    assert not (tmp_path / "out.nc").exists()
