"""Zarr, Kerchunk references and GeoTIFF on an S3-compatible server, with credentials from the environment."""

from __future__ import annotations

import re

import numpy as np
import pytest

from engine.data import rasters, remote_files
from engine.data.fields import open_field
from engine.data.pairs import pair
from engine.errors import DataError
from engine.spec import DataOptions, Source
from tests.engine.data.data_server import end_s3_connections, s3_environment, serving
from tests.engine.data.mock import refusal
from tests.engine.data.test_rasters import write_tiff
from tests.engine.data.test_remote_data import FIELD, write_reference, write_zarr

pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:zarr.errors.ZarrUserWarning"
)
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/us-east-1/s3/aws4_request, .*Signature=[0-9a-f]+")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A server whose folder `bucket` is a bucket."""
    monkeypatch.setattr(remote_files, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(rasters, "REMOTE", rasters.REMOTE | {"GDAL_HTTP_RETRY_DELAY": 0})
    (tmp_path / "bucket").mkdir()
    with serving(tmp_path) as server:
        for name, value in s3_environment(server).items():
            monkeypatch.setenv(name, value)
        yield server
        end_s3_connections()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_of_a_store_only_the_chunks_asked_for_are_read_with_signed_requests(tmp_path, store, zarr_format):
    write_zarr(tmp_path / "bucket" / "a.zarr", zarr_format=zarr_format)
    field = open_field(Source("s3://bucket/a.zarr"))
    np.testing.assert_array_equal(field[7], FIELD["t2m"][7])
    read = [path for path in store.requests if "/t2m/" in path and path[-1].isdigit()]
    assert read == ["/bucket/a.zarr/t2m/7.0.0" if zarr_format == 2 else "/bucket/a.zarr/t2m/c/7/0/0"]
    assert all(SIGNED.fullmatch(given or "") for given in store.authorizations)
    assert not any("very-secret" in path for path in store.requests)


def test_references_to_a_bucket(tmp_path, store):
    write_zarr(tmp_path / "bucket" / "a.zarr")
    for path in (tmp_path / "here.json", tmp_path / "bucket" / "there.json"):
        write_reference(path, tmp_path / "bucket" / "a.zarr", "s3://bucket/a.zarr")
    for path in (str(tmp_path / "here.json"), "s3://bucket/there.json"):
        np.testing.assert_array_equal(open_field(Source(path)), FIELD["t2m"])


def test_a_raster_in_a_bucket(tmp_path, store):
    values = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    write_tiff(tmp_path / "bucket" / "a.tif", values, tile=(128, 128))
    field = open_field(Source("s3://bucket/a.tif"), static=True)
    np.testing.assert_array_equal(field[300:310, 700:720], values[300:310, 700:720])
    assert 0 < store.n_bytes < values.nbytes / 4


@pytest.mark.parametrize(
    ("failure", "reason"),
    [("403", "Forbidden"), ("cut", "closed"), ("stall", "no answer within 1 s")],
)
def test_a_bucket_that_fails(tmp_path, store, failure, reason, monkeypatch):
    if failure == "stall":
        monkeypatch.setattr(remote_files, "STALLED_S", 1.0)
    write_zarr(tmp_path / "bucket" / "a.zarr")
    pairs = pair(DataOptions(target={"path": "s3://bucket/a.zarr"}, scale=2))
    store.failure = failure
    n_before = len(store.requests)
    with pytest.raises(DataError, match="t2m and its predictors can no longer be read") as caught:
        pairs.read(np.array([2]))
    assert "(bucket/a.zarr/t2m/2.0.0: " in str(caught.value)
    assert reason in str(caught.value)
    assert "very-secret" not in str(caught.value)
    n_tries = len(store.requests) - n_before
    assert n_tries == 1 if failure == "403" else n_tries >= 3  # aiohttp too asks again where a kept connection is cut


def test_without_credentials(store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Unable to locate credentials" in refusal(DataError, "s3://bucket/a.zarr")
