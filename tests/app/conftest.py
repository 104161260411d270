"""What the tests of the dashboard share: a store, a session on it, and small files to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from app.services.watcher import stop_all
from app.session import Session
from engine.runs import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, which is the default one while the test runs; no catalogue, and runs on this machine only."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("MESOSCOPE_STORE", str(folder))
    targets = tmp_path / "targets.yaml"
    targets.write_text("version: 1\ntargets: {local: {}}\n")
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(targets))
    monkeypatch.setenv("MESOSCOPE_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.setenv("MESOSCOPE_SITE_CATALOG", str(tmp_path / "site_catalog.yaml"))
    return Store(folder)


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    yield Session(store=store)
    stop_all()


@pytest.fixture
def temperature_file(tmp_path: Path) -> Path:
    """t2m (time 6, lat 4, lon 5) in K: 280 + time + cell / 100, one of 20 cells missing; a static topography."""
    path = tmp_path / "t2m.nc"
    values = 280.0 + np.arange(6)[:, None, None] + np.arange(20).reshape(4, 5) / 100
    values[:, 0, 0] = np.nan
    lat = ("lat", [50.0, 51, 52, 53], {"units": "degrees_north", "standard_name": "latitude"})
    lon = ("lon", [0.0, 1, 2, 3, 4], {"units": "degrees_east", "standard_name": "longitude"})
    times = pd.date_range("2001-01-01", periods=6, freq="6h")
    fields = {
        "t2m": (("time", "lat", "lon"), values, {"units": "K", "long_name": "2 metre temperature"}),
        "topography": (("lat", "lon"), np.arange(20.0).reshape(4, 5), {"units": "m"}),
    }
    xr.Dataset(fields, {"time": times, "lat": lat, "lon": lon}).to_netcdf(path)
    return path
