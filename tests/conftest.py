"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pyproj  # noqa: F401 (before ecCodes, which xarray may load: see engine/data/grib.py)
import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $MESOSCOPE_TEST_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("MESOSCOPE_TEST_DATA") or CHECKOUT.parent / "shared" / "data")
    if folder.is_dir():
        return folder
    reason = f"no real data in {folder}: set MESOSCOPE_TEST_DATA to the folder that holds era5_uk_t2m.grib"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
