"""Data behind a URL: read in parts from servers on this machine, and refused clearly when these fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

from engine.data import netcdf, rasters, remote_files
from engine.data.fields import open_field
from engine.data.pairs import pair
from engine.errors import DataError, SpecError
from engine.launch.remote.staging import inputs_of
from engine.runs.description import describe_inputs
from engine.spec import DataOptions, Source, Spec
from tests.engine.data.data_server import serving
from tests.engine.data.mock import make_field, refusal, write_grib
from tests.engine.data.test_rasters import write_tiff

pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:zarr.errors.ZarrUserWarning"
)
FIELD = make_field()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(remote_files, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(rasters, "REMOTE", rasters.REMOTE | {"GDAL_HTTP_RETRY_DELAY": 0})


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait briefly for servers that stall; others may be slow while the machine is."""
    monkeypatch.setattr(remote_files, "STALLED_S", 1.0)
    monkeypatch.setattr(netcdf, "ANSWER_S", 1)
    monkeypatch.setattr(rasters, "REMOTE", rasters.REMOTE | {"GDAL_HTTP_TIMEOUT": 1, "GDAL_HTTP_MAX_RETRY": 0})


def write_zarr(
    path: Path, field: xr.Dataset = FIELD, *, zarr_format: int = 2, consolidated: bool = True, **how: Any
) -> None:
    """Write a Zarr store with one time step in each chunk."""
    encoding = {"t2m": {"chunks": (1, *field["t2m"].shape[1:]), **how}}
    field.to_zarr(path, zarr_format=zarr_format, consolidated=consolidated, encoding=encoding)


def write_reference(path: Path, store: Path, root: str) -> None:
    """Write what Kerchunk writes: metadata as text, and where the bytes of each chunk are."""
    files = {str(file.relative_to(store)): file for file in store.rglob("*") if file.is_file()}
    refs = {
        key: file.read_text() if file.name.startswith(".z") else [f"{root}/{key}", 0, file.stat().st_size]
        for key, file in files.items()
        if file.name != ".zmetadata"
    }
    path.write_text(json.dumps({"version": 1, "refs": refs}))


def with_days(field: xr.Dataset) -> xr.Dataset:
    """Give times as numbers, which OPeNDAP sends."""
    days = (field["time"].values - np.datetime64("2000-01-01")) / np.timedelta64(1, "D")
    return field.assign_coords(time=("time", days, {"units": "days since 2000-01-01"}))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_of_a_zarr_store_only_the_chunks_asked_for_are_read(tmp_path, zarr_format):
    write_zarr(tmp_path / "a.zarr", zarr_format=zarr_format)
    with serving(tmp_path) as server:
        field = open_field(Source(f"{server.url}/a.zarr"))
        assert not any("/t2m/" in path and path[-1].isdigit() for path in server.requests)
        np.testing.assert_array_equal(field[7], FIELD["t2m"][7])
        read = [path for path in server.requests if "/t2m/" in path and path[-1].isdigit()]
        assert read == ["/a.zarr/t2m/7.0.0" if zarr_format == 2 else "/a.zarr/t2m/c/7/0/0"]
        np.testing.assert_array_equal(field, FIELD["t2m"])


def test_kerchunk_references_here_and_on_a_server(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    with serving(tmp_path) as server:
        write_reference(tmp_path / "local.json", tmp_path / "a.zarr", str(tmp_path / "a.zarr"))
        write_reference(tmp_path / "remote.json", tmp_path / "a.zarr", f"{server.url}/a.zarr")
        for path in (tmp_path / "local.json", tmp_path / "remote.json", f"{server.url}/remote.json"):
            np.testing.assert_array_equal(open_field(Source(str(path))), FIELD["t2m"])
        field = open_field(Source(f"{server.url}/remote.json"))
        (tmp_path / "a.zarr" / "t2m" / "3.0.0").unlink()
        with pytest.raises(OSError, match=r"failed to fetch target http://.*/a.zarr/t2m/3\.0\.0"):
            field[3].load()


def test_opendap(tmp_path):
    large = make_field(ny=64, nx=96)  # smaller ones are read as a whole by the NetCDF library
    with serving(tmp_path, with_days(large)) as server:
        field = open_field(Source(server.dap_url))
        np.testing.assert_array_equal(field["time"], large["time"])
        np.testing.assert_array_equal(field[7, :, 5:9], large["t2m"][7, :, 5:9])
        assert unquote(server.requests[-1]) == "/dap/field.dods?t2m[7][0:63][5:8]"


def test_of_a_cloud_optimised_geotiff_only_the_tiles_asked_for_are_read(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    write_tiff(tmp_path / "a.tif", values, tile=(128, 128))
    with serving(tmp_path) as server:
        url = f"{server.url}/a.tif"
        field = open_field(Source(url), static=True)
        np.testing.assert_array_equal(field[300:310, 700:720], values[300:310, 700:720])
        assert 0 < server.n_bytes < values.nbytes / 4
        server.failure = "403"
        with pytest.raises(OSError, match=r"http://.*/a\.tif: HTTP response code: 403"):
            field[900:, :100].load()
        shorten_waits(monkeypatch)
        for server.failure in ("403", "cut", "stall"):
            other = f"{server.url}/other-{server.failure}.tif"
            assert refusal(DataError, other, static=True).startswith(f"{other} can't be read (")


def test_a_raster_at_an_address_after_grib(tmp_path):
    """In a process of its own: the libraries of both have an OpenSSL of their own, and crashed."""
    write_grib(tmp_path / "a.grib", [{}])
    write_tiff(tmp_path / "a.tif")
    with serving(tmp_path) as server:
        paths = [str(tmp_path / "a.grib"), f"{server.url}/a.tif"]
        opening = "; ".join(f"open_field(Source({path!r}), static=True).load()" for path in paths)
        code = f"from engine.data.fields import open_field; from engine.spec import Source; {opening}"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("failure", "reason"),
    [("403", "403, message='Forbidden'"), ("cut", "Server disconnected"), ("stall", "no answer within 1 s")],
)
def test_a_server_that_fails(tmp_path, failure, reason, monkeypatch):
    write_zarr(tmp_path / "a.zarr")
    if failure == "stall":
        shorten_waits(monkeypatch)
    with serving(tmp_path, with_days(FIELD)) as server:
        url = f"{server.url}/a.zarr"
        pairs = pair(DataOptions(target={"path": url}, scale=2))
        server.failure = failure
        message = refusal(DataError, url)
        assert message.startswith(f"{url} can't be read ({url}/")
        assert reason in message
        assert message.endswith("check the address and your access to it, or try again later")
        with pytest.raises(DataError, match="t2m and its predictors can no longer be read") as caught:
            pairs.read(np.array([2]))
        assert f"({url}/t2m/2.0.0: {reason}" in str(caught.value)
        assert refusal(DataError, server.dap_url).startswith(f"{server.dap_url} can't be read ([Errno -")
        assert refusal(DataError, f"{server.url}/a.json").startswith(f"{server.url}/a.json can't be read (")


def test_a_server_that_fails_for_a_moment_is_asked_again(tmp_path, monkeypatch):
    write_zarr(tmp_path / "a.zarr")
    monkeypatch.setattr(remote_files, "STALLED_S", 1.0)
    with serving(tmp_path) as server:
        field = open_field(Source(f"{server.url}/a.zarr"))
        for failure in ("cut", "503", "stall"):
            server.failure, server.failures_left = failure, 2
            np.testing.assert_array_equal(field[3], FIELD["t2m"][3])
            assert server.failures_left == 0


def test_stores_that_are_not_there_or_can_not_be_listed(tmp_path):
    write_zarr(tmp_path / "a.zarr", consolidated=False)
    with serving(tmp_path) as server:
        assert "has no consolidated metadata, and its server doesn't list" in refusal(DataError, f"{server.url}/a.zarr")
        assert "No group found in store" in refusal(DataError, f"{server.url}/none.zarr")
    assert f"{server.url}/a.zarr can't be read (" in refusal(DataError, f"{server.url}/a.zarr")  # nobody listens


def test_without_fsspec_or_what_it_needs_for_a_protocol(monkeypatch):
    assert "Protocol not known: abc" in refusal(DataError, "abc://bucket/a.zarr")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    monkeypatch.setitem(sys.modules, "fsspec.implementations.reference", None)
    for url in ("https://example.org/a.zarr", "https://example.org/a.json", "s3://bucket/a.zarr"):
        assert "pip install 'mesoscope[remote]'" in refusal(DataError, url)


def test_addresses_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME_OF_DATA", "secret")
    url = "https://example.org/$HOME_OF_DATA/~/[1]*.zarr"
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": url}, "scale": 2}, "launch": {"upload": True}})
    absolute = spec.within(tmp_path)
    assert absolute.data.files() == [url]
    assert describe_inputs(absolute) == [{"path": url}]
    inputs = inputs_of(absolute, "/there")
    assert (inputs.spec.data.target.path, inputs.files) == (url, {})


@pytest.mark.parametrize(
    "address", ["https://me:word@example.org/a.zarr", "https://example.org/a.zarr?X-Amz-Signature=1f"]
)
def test_secrets_are_refused_and_not_repeated(address):
    with pytest.raises(SpecError, match="data.target.path has a password or key in its address") as caught:
        DataOptions(target={"path": ["a.nc", address]}, scale=2)
    assert "word@" not in str(caught.value)
    assert "1f" not in str(caught.value)


def test_a_password_comes_from_netrc(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password word\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    write_zarr(tmp_path / "a.zarr")
    with serving(tmp_path) as server:
        open_field(Source(f"{server.url}/a.zarr"))
        assert set(server.authorizations) == {"Basic bWU6d29yZA=="}  # base64 of me:word
