"""Land and height of cells from static variables, by name, standard name and unit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.surface import Surface
from engine.spec import Spec

HALF = np.array([[0.0, 1.0], [0.25, 0.75]])


def static(values: np.ndarray, source_name: str, **attrs: str) -> xr.DataArray:
    return xr.DataArray(values, dims=("y", "x"), attrs={"source_name": source_name, **attrs})


def test_land_and_elevation_are_known_by_standard_name_or_name_in_any_unit():
    land = Surface.of([static(100 * HALF, "sftlf", units="%")]).land
    np.testing.assert_allclose(land, HALF, rtol=1e-6)
    sea = Surface.of([static(HALF, "frac", units="1", standard_name="sea_area_fraction")]).land
    np.testing.assert_allclose(sea, 1 - HALF)
    height = Surface.of([static(HALF, "hill", units="km", standard_name="surface_altitude")]).elevation
    np.testing.assert_allclose(height, 1000 * HALF, rtol=1e-6)
    # 980.665 m² s⁻² over 9.80665 m s⁻² are 100 m
    height = Surface.of([static(980.665 * HALF, "z", units="m**2 s**-2")]).elevation
    np.testing.assert_allclose(height, 100 * HALF, rtol=1e-6)


@pytest.mark.parametrize(
    "field",
    [
        static(HALF, "orog"),  # of a run made before units were kept
        static(HALF, "orog", units="K"),
        static(3 * HALF, "lsm", units="1"),  # classes, not shares
        static(np.full((2, 2), np.nan), "lsm", units="1"),
        static(HALF, "urban", units="1"),
    ],
)
def test_what_is_not_known_for_sure_is_left_out(field):
    found = Surface.of([field])
    assert found.land is None
    assert found.elevation is None


def test_a_run_keeps_them_for_the_cells_of_its_results(shared_data, tmp_path):
    data = {
        "target": {"path": str(shared_data / "era5_uk_t2m.grib"), "variable": "t2m"},
        "static": [{"path": str(shared_data / "era5_uk_static.nc"), "variable": name} for name in ("orography", "lsm")],
        "scale": 4,
    }
    pairs = pair(Spec.from_plain({"version": 1, "data": data}).data)
    fit_normalizer(pairs, "standard").save(tmp_path / "scaling.nc", pairs)
    surface = Surface.read(tmp_path / "scaling.nc")
    with xr.open_dataset(shared_data / "era5_uk_static.nc") as file:  # 33 × 49 cells, of which 32 × 48 fill LR cells
        np.testing.assert_allclose(surface.land, file["lsm"][:32, :48])
        np.testing.assert_allclose(surface.elevation, file["orography"][:32, :48], rtol=1e-6)
    assert Surface.read(tmp_path / "other.nc").land is None
