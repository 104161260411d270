"""Files behind addresses by fsspec, an optional dependency: how they are asked for, and in which version."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.data import disk_cache

STALLED_S = 60.0  # without a connection, or a byte
PAUSES_S = (1.0, 4.0)  # before the second and the third try
EXPIRES_S = 86_400.0  # after which data are read again whose changes a server doesn't show
MARKS = ("ETag", "Last-Modified", "LastModified")  # of a version; the last is s3fs's
PARTS = (*MARKS, "Content-MD5", "Digest", "size")


@dataclass(frozen=True)
class Version:
    """What a source was like when it was opened, as text, and how long data of it may be taken from the cache."""

    text: str
    max_age_s: float = EXPIRES_S

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Version:
        """Version by what fsspec says of a file; one with a mark holds until that changes."""
        has_mark = any(info.get(mark) for mark in MARKS)
        return cls(repr([str(info.get(part)) for part in PARTS]), math.inf if has_mark else EXPIRES_S)


def options(url: str) -> dict[str, Any]:
    """Options of fsspec's file system for an address: a server may stall for `STALLED_S`, and is asked once."""
    if url.startswith("s3:"):  # the store tries again, so that botocore and s3fs needn't
        limits = {"connect_timeout": STALLED_S, "read_timeout": STALLED_S, "retries": {"max_attempts": 0}}
        return {"config_kwargs": limits, "max_concurrency": 1}  # in parts at once asks for the size of each chunk first
    if not url.startswith(("http:", "https:")):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALLED_S, sock_read=STALLED_S)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


def try_once(files: Any) -> None:
    """Leave it to the caller to try again; s3fs would do it five times of its own."""
    if hasattr(files, "retries"):
        files.retries = 1


def with_server(url: str) -> str:
    """Add the server to an address on S3, which doesn't name it."""
    server = os.environ.get("AWS_ENDPOINT_URL", "")
    return f"{server} {url}" if server and url.startswith("s3:") else url


def version_of(url: str) -> Version | None:
    """Ask for the version of a file; None if fsspec is missing, the server doesn't say, or nothing is cached."""
    if not disk_cache.limit_bytes():
        return None
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url, **options(url))
        try_once(files)
        files.invalidate_cache()
        return Version.of(files.info(path))
    except Exception:  # as below; GDAL may have credentials that s3fs lacks
        return None


async def version_at(files: Any, path: str) -> Version | None:
    """Ask an asynchronous file system for the version of a file; None if the server doesn't say, as above."""
    if not disk_cache.limit_bytes():
        return None
    try:
        files.invalidate_cache()
        return Version.of(await files._info(path))
    except Exception:  # whatever keeps a server from answering: reading says why
        return None
