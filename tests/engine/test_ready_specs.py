"""The ready-made specs are specs, say where data come from, and fit real data of their form."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.assets import ASSETS
from engine.check import summarize
from engine.spec import Spec

READY = ASSETS / "specs" / "ready"
STATIC = [{"path": "era5_uk_static.nc", "variable": name} for name in ("orography", "lsm")]
# Data of the same form, and the sides of HR and LR. perfect-prog crops HR to multiples of the scale, MOS extends it.
REAL = {
    "t2m_x8": ({"target": {"path": "era5_uk_t2m.grib"}, "static": STATIC}, (32, 48), (4, 6)),
    "seasonal_precipitation": (
        {"target": {"path": "eobs_iberia_pr.nc"}, "lr": {"path": "cfs_iberia_pr.nc"}}, (20, 30), (10, 15)
    ),
    "radar_precipitation": ({"target": {"path": "bom_radar_precipitation.nc"}}, (512, 512), (128, 128)),
    "sea_surface_currents": (
        {
            "target": {"path": "wind_monthly_global.nc", "variable": "uas"},
            "target_v": {"path": "wind_monthly_global.nc", "variable": "vas"},
            "predictors": [],
            "static": [],
        },
        (72, 144),
        (18, 36),
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(READY.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_ready_spec_is_a_spec_and_says_where_its_data_come_from(path: Path) -> None:
    assert Spec.read(path).launch.title
    title, *about = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    assert "MOS" in title or "perfect-prog" in title
    assert any(line.startswith("# Data: ") for line in about)


@pytest.mark.parametrize("name", REAL)
def test_a_ready_spec_fits_real_data_of_its_form(shared_data: Path, name: str) -> None:
    options, hr, lr = REAL[name]
    spec = Spec.read(READY / f"{name}.yaml").replace(data=options).within(shared_data)
    grids = summarize(spec).grids
    assert (grids["hr"].shape, grids["lr"].shape) == (hr, lr)
