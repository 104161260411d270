"""Skill on real data, from results/test.nc by code of its own: the engine's scores are not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.runs import Run
from tests.engine.launch.engine_processes import CommandLine, no_processes_left

pytestmark = pytest.mark.slow

Spec = dict[str, dict[str, Any]]
SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}


def trained(folder: Path, spec: Spec) -> xr.Dataset:
    """Train through the command line, and open the results."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **spec}))
    with no_processes_left(folder):
        answer = CommandLine(folder / "runs").json("train", str(path))
    return xr.load_dataset(Run(Path(answer["folder"])).results)


def rmse(results: xr.Dataset, field: str) -> float:
    """Over all cells and steps where both have a value, in the unit of the fields."""
    error = results[field].values.astype(np.float64) - results["hr"].values
    assert np.isfinite(error).any()
    return float(np.sqrt(np.nanmean(error**2)))


def test_era5_temperature_perfect_prog(shared_data, tmp_path):
    spec: Spec = {
        "data": {
            "target": {"path": str(shared_data / "era5_uk_t2m.grib"), "variable": "t2m"},
            "pairing": "perfect-prog",
            "scale": 4,
            "split": SPLIT,
        },
        "training": {"seed": 0},
    }
    results = trained(tmp_path, spec)
    original = xr.load_dataset(shared_data / "era5_uk_t2m.grib", decode_timedelta=False)["t2m"]
    # 744 hours, of which 0.7 + 0.1 are rint(595.2); 33 × 49 cells cropped to multiples of 4.
    np.testing.assert_array_equal(results["hr"], original.values[595:, :32, :48])
    blocks = original.values[595:, :32, :48].reshape(149, 8, 4, 12, 4)
    weights = np.cos(np.deg2rad(original["latitude"].values[:32])).reshape(8, 4)
    lr = (blocks.mean(4) * weights[:, :, None]).sum(2) / weights.sum(1)[:, None]
    np.testing.assert_allclose(results["lr"], lr, atol=1e-3)
    assert results["downscaled"].attrs["units"] == "K"
    assert rmse(results, "interpolated") == pytest.approx(0.682, abs=0.002)
    assert rmse(results, "downscaled") <= 0.36


def test_eobs_temperature_mos(shared_data, tmp_path):
    def ncep(name: str, variable: str) -> dict[str, str]:
        return {"path": str(shared_data / f"ncep_iberia_{name}.nc"), "variable": variable}

    spec: Spec = {
        "data": {
            "target": {"path": str(shared_data / "eobs_iberia_tas.nc"), "variable": "tg"},
            "pairing": "mos",
            "lr": ncep("tas", "tas"),
            "predictors": [ncep("psl", "psl"), ncep("hus850", "hus"), ncep("ta850", "ta")],
            "scale": 5,
            "split": SPLIT,
        },
    }
    results = trained(tmp_path, spec)
    original = xr.load_dataset(shared_data / "eobs_iberia_tas.nc")["tg"]
    land = np.isfinite(original.values).any(axis=0)
    assert 0.3 < 1 - land.mean() < 0.5  # there is a sea to respect
    assert results["downscaled"].shape[1:] == land.shape
    np.testing.assert_array_equal(np.isfinite(results["downscaled"].values).any(axis=0), land)
    np.testing.assert_array_equal(np.isfinite(results["downscaled"].values).all(axis=0), land)
    np.testing.assert_allclose(results["hr"], original.sel(time=results["time"]), atol=1e-4)
    assert rmse(results, "downscaled") <= 1.55


def test_radar_precipitation_in_patches(shared_data, tmp_path):
    spec: Spec = {
        "data": {
            "target": {"path": str(shared_data / "bom_radar_precipitation.nc")},
            "pairing": "perfect-prog",
            "scale": 4,
            "patch_size": 128,
            "split": SPLIT,
        },
        # The constraint leaves to the network only where in an LR cell it rains, of which MSE asks the mean. Filters,
        # rate and steps were chosen by the validation part; the defaults come as far in three times the time.
        "model": {"localized": False, "constraint": "multiplicative", "n_filters": 16},
        "training": {"loss": "mse", "epochs": 20, "steps_per_epoch": 40, "learning_rate": 0.004},
    }
    results = trained(tmp_path, spec)
    assert results["downscaled"].shape == (29, 512, 512)  # 0.2 of 144, whole fields
    assert results["downscaled"].attrs["grid_mapping"] in results.variables
    filled = results[["hr", "downscaled", "interpolated"]].fillna(0.0)
    assert float(filled["downscaled"].min()) >= 0
    assert rmse(filled, "interpolated") == pytest.approx(0.0183, abs=5e-5)
    assert rmse(filled, "downscaled") <= 0.0165


def test_landsat_from_one_geotiff_with_its_elevation_and_a_band_that_is_known_at_hr(shared_data, tmp_path):
    path = str(shared_data / "landsat7_olinda.tif")
    spec: Spec = {
        "data": {
            "target": {"path": path, "variable": "band_6"},
            "static": [
                {"path": str(shared_data / "landsat7_olinda_dem.nc"), "variable": "dem"},
                {"path": path, "variable": "band_3"},
            ],
            "scale": 4,
            "patch_size": 64,
            "split": SPLIT,
        },
        "model": {"localized": False, "n_filters": 16},
        "training": {"epochs": 2, "steps_per_epoch": 40, "batch_size": 8},
    }
    results = trained(tmp_path, spec)
    with xr.open_dataset(shared_data / "landsat7_olinda.nc") as scene:
        band = scene["dn"].values[5, :, :348].astype(float)
    # Of 88 LR rows, 0.7 + 0.1 are rint(70.4) for training and validation: HR counts from row 4 × 70 on.
    assert np.isnan(results["hr"][0, :280]).all()
    np.testing.assert_array_equal(results["hr"][0, 280:], band[280:])
    np.testing.assert_allclose(results["lr"][0], band.reshape(88, 4, 87, 4).mean((1, 3)), rtol=1e-5)
    assert results["downscaled"].attrs["grid_mapping"] in results.variables
    assert np.isfinite(results["downscaled"]).all()
    assert rmse(results, "downscaled") <= 0.9 * rmse(results, "interpolated")  # 0.86
