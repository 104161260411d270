"""Zarr stores and Kerchunk references behind a URL, by fsspec, an optional dependency.

Credentials come from where fsspec and its parts look for them, as `~/.netrc`, and for S3 the environment and `~/.aws`,
never from a spec. The address of an S3-compatible server is that of `$AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from engine.data import disk_cache, remote_files
from engine.data.remote_files import Version, options, try_once, version_at, with_server
from engine.errors import DataError
from engine.spec import is_url

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

REFUSALS = (401, 403)  # HTTP status of what isn't tried again
METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")


class PatientStore(FsspecStore):
    """Zarr store that tries again where a server fails for the moment, and names the address where it keeps failing.

    Chunks come from the cache on disk where it has them.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a key, or a part of it; None if it isn't there. Raises OSError."""
        address, version = await self._source(key)
        entry = f"{address} {byte_range} {version.text}" if version else ""
        if version and (found := await asyncio.to_thread(disk_cache.get, entry, version.max_age_s)) is not None:
            return prototype.buffer.from_bytes(found)
        content = await self._read(key, prototype, byte_range)
        if version and content is not None:
            await asyncio.to_thread(disk_cache.put, entry, content.to_bytes())
        return content

    async def _source(self, key: str) -> tuple[str, Version | None]:
        """Address that a key is read from, and its version; without one it isn't cached."""
        return key, None

    async def _read(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None) -> Buffer | None:
        for pause in (*remote_files.PAUSES_S, None):
            try:
                return await super().get(key, prototype, byte_range)
            except Exception as error:
                if pause is None or _is_refused(error):
                    raise OSError(f"{self.path.rstrip('/')}/{key}: {_reason(error)}") from error
            await asyncio.sleep(pause)
        raise AssertionError


class ZarrStore(PatientStore):
    """Store whose metadata, read at each opening, give the version of all of its chunks, for a day at most."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.address = ""
        self.version: Version | None = None
        self._documents: dict[str, str] = {}  # metadata → sha256

    async def _source(self, key: str) -> tuple[str, Version | None]:
        is_chunk = key.rpartition("/")[2] not in METADATA
        return f"{self.address}/{key}", self.version if is_chunk else None

    async def _read(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None) -> Buffer | None:
        content = await super()._read(key, prototype, byte_range)
        if key.rpartition("/")[2] in METADATA and content is not None:
            self._documents[key] = hashlib.sha256(content.to_bytes()).hexdigest()
        return content

    async def take_version(self) -> None:
        """Take the version that the server has now of the metadata that were read."""
        documents = sorted(self._documents.items())
        marks = await asyncio.gather(*(version_at(self.fs, f"{self.path.rstrip('/')}/{key}") for key, _ in documents))
        text = repr([(document, mark and mark.text) for document, mark in zip(documents, marks, strict=True)])
        self.version = Version(hashlib.sha256(text.encode()).hexdigest())


class ReferenceStore(PatientStore):
    """Store of references to parts of files, each of which has a version of its own."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._versions: dict[str, asyncio.Future[Version | None]] = {}

    async def _source(self, key: str) -> tuple[str, Version | None]:
        try:
            target, first, end = self.fs._cat_common(key)
        except FileNotFoundError:
            return key, None
        if not isinstance(target, str) or not is_url(target):  # bytes in the reference itself, or a file here
            return key, None
        if target not in self._versions:
            files = self.fs.fss[target.partition("://")[0]]
            self._versions[target] = asyncio.ensure_future(version_at(files, target))
        return f"{with_server(target)} {first} {end}", await self._versions[target]


def open_remote_zarr(url: str) -> xr.Dataset:
    """Open a Zarr store at an address, undecoded; raises OSError, and DataError if a library is missing."""
    try:
        found = PatientStore.from_url(url, storage_options=options(url), read_only=True)
        try_once(found.fs)
    except (ImportError, ValueError) as error:  # of an optional part of fsspec, as s3fs; of an unknown protocol
        raise _missing(url, error) from error
    store = ZarrStore(found.fs, read_only=True, path=found.path)
    try:
        dataset = _undecoded(store, is_consolidated=True)
    except ValueError:
        dataset = _undecoded(store, is_consolidated=False)
    if not dataset.variables:
        raise DataError(
            f"{url} has no consolidated metadata, and its server doesn't list what is in it",
            action="add them (Python: zarr.consolidate_metadata(store))",
        )
    store.address = with_server(url.rstrip("/"))
    sync(store.take_version())
    return dataset


def open_reference(path: str) -> xr.Dataset:
    """Open a Kerchunk reference, a file here or at an address, undecoded; raises as `open_remote_zarr` does."""
    try:
        from fsspec.implementations.reference import ReferenceFileSystem

        remote = {"asynchronous": True, **options("s3:" if _refers_to_s3(path) else "https:")}
        files = ReferenceFileSystem(path, target_options=options(path), remote_options=remote, asynchronous=True)
    except ImportError as error:
        raise _missing(path, error) from error
    for part in files.fss.values():
        try_once(part)
    return _undecoded(ReferenceStore(files, read_only=True), is_consolidated=False)


def _undecoded(store: Any, is_consolidated: bool) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarr", decode_cf=False, consolidated=is_consolidated)


def _refers_to_s3(path: str) -> bool:
    """True if a Kerchunk reference, itself on S3 or a file here, refers to S3."""
    if is_url(path):
        return path.startswith("s3:")
    return '"s3://' in Path(path).read_text(encoding="utf-8")


def _is_refused(error: Exception) -> bool:
    """True if a server, or a lack of credentials, refuses what wouldn't be given another time either."""
    is_without_credentials = type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")  # of botocore
    return getattr(error, "status", None) in REFUSALS or isinstance(error, PermissionError) or is_without_credentials


def _reason(error: Exception) -> str:
    is_stalled = isinstance(error, TimeoutError) or type(error).__name__ in ("ReadTimeoutError", "FSTimeoutError")
    return f"no answer within {remote_files.STALLED_S:g} s" if is_stalled else str(error) or type(error).__name__


def _missing(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is read by fsspec, which lacks something ({error})",
        action="pip install 'mesoscope[remote]', or with conda: conda install fsspec aiohttp s3fs",
    )
