"""Season and trend from end to end: trained, written, and put back in the fields of new LR."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.cli import main
from engine.evaluation.scores import FIELDS
from tests.engine.data.mock import make_field, steps
from tests.engine.train_here import train_here

SPEC = {
    "version": 1,
    "data": {
        "target": {"path": "hr.nc", "variable": "hr"},
        "predictors": [{"path": "p.nc", "variable": "p"}],
        "scale": 2,
        "scaling": "season_trend",
    },
    "model": {"n_filters": 4, "n_blocks": 1, "localized": False},
    "training": {"epochs": 1},
}


@pytest.mark.slow
def test_a_run_puts_the_season_of_each_cell_back_in_its_own_fields_and_new_ones(tmp_path, capsys):
    """Neighbouring cells have amplitudes of 5 and 15 K, and LR 10 K: it doesn't tell which has which."""
    times = steps(8 * 73, frequency="5D")  # 8 years, of which 5.6 train
    wave = np.cos(2 * np.pi * np.arange(len(times)) / 73.05)[:, None, None]
    amplitude = np.where(np.indices((8, 12)).sum(0) % 2, 15.0, 5.0)
    for seed, (name, axes) in enumerate({"hr": ("lat", "lon"), "p": ("latitude", "longitude")}.items()):
        field = make_field(times=times, seed=seed, name=name, names=("time", *axes))
        field[name] = field[name].copy(data=field[name].values - wave * amplitude)
        field.to_netcdf(tmp_path / f"{name}.nc")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    run = train_here(tmp_path / "spec.yaml", tmp_path / "runs")
    with xr.open_dataset(run.results) as file:
        results = file.load()
    rmse = {name: float(np.sqrt(((results[name] - results["hr"]) ** 2).mean())) for name in FIELDS}
    assert rmse["interpolated"] > 3  # 5 K / √2, and noise of 1 K
    assert rmse["downscaled"] < 0.5 * rmse["interpolated"]
    with xr.open_dataset(tmp_path / "p.nc") as predictor:
        lr = results["lr"].rename(y_lr="lat", x_lr="lon").rename("hr")
        xr.Dataset({"hr": lr}).to_netcdf(tmp_path / "new.nc")
        predictor["p"].sel(time=results["time"]).to_netcdf(tmp_path / "new.nc", "a")
    capsys.readouterr()
    main(["downscale", run.id, str(tmp_path / "new.nc"), str(tmp_path / "out.nc"), "--store", str(tmp_path / "runs")])
    assert "too few for a trend of its own" in capsys.readouterr().err
    with xr.open_dataset(tmp_path / "out.nc") as found:
        np.testing.assert_allclose(found["downscaled"], results["downscaled"], atol=1e-3)
