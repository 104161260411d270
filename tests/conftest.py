"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pyproj  # noqa: F401 (before ecCodes, which xarray may load: see engine/data/grib.py)
import pytest

CHECKOUT = Path(__file__).parents[1]


LONGEST = ("test_larger_than_memory", "test_acceptance", "test_killed", "test_remote", "test_slurm_ranks", "test_local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first, so that where two run at a time none is left waiting for the last."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


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
