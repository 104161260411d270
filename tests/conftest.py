"""Order of the tests, their distribution over workers, and the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pyproj  # noqa: F401 (before ecCodes, which xarray may load: see engine/data/grib.py)
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

CHECKOUT = Path(__file__).parents[1]
os.environ["MESOSCOPE_EXAMPLE"] = "off"  # the stores of tests begin empty, and hold what a test puts in
os.environ["MESOSCOPE_CACHE_GIB"] = "0"  # servers of different tests may have the same address

# Files that take minutes and whose tests share what they set up: they come first and stay together.
LONGEST = (
    "test_acceptance", "test_local", "test_submit", "test_time_limit", "test_suite", "test_larger_than_memory",
    "test_slurm_ranks", "test_thread", "test_elastic_runs", "test_killed", "test_remote", "test_jupyterhub",
)  # fmt: skip
# Files that take minutes and whose tests share only what each worker has anyway: they come last, test by test, so that
# no worker is left waiting for another.
DIVISIBLE = ("test_attacks", "test_requests", "test_every_network")
DIVISIBLE += ("test_server_away", "test_uploads", "test_scheduler_replies", "test_damaged_files", "test_once_only")


class DivideLongFiles(LoadFileScheduling):
    """Hand out whole files to the workers, but the tests of `DIVISIBLE` files one by one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if Path(file).stem in DIVISIBLE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> DivideLongFiles:
    return DivideLongFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest files first, in their order here, and the divisible ones last."""
    order = {name: place - len(LONGEST) for place, name in enumerate(LONGEST)} | dict.fromkeys(DIVISIBLE, 1)
    items.sort(key=lambda item: order.get(item.path.stem, 0))


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
