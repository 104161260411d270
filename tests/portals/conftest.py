"""The installed wheel, once for all tests of portals; the browser is that of the dashboard's tests."""

from __future__ import annotations

import pytest

from tests.app.browser.conftest import chromium
from tests.portals.installation import Installation

__all__ = ["chromium"]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation.of_checkout(tmp_path_factory.mktemp("installation"))
