"""Zarr stores and Kerchunk references behind a URL, by fsspec, an optional dependency.

Credentials come from where fsspec and its parts look for them, as `~/.netrc`, and for S3 the environment and `~/.aws`,
never from a spec. The address of an S3-compatible server is that of `$AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from zarr.storage import FsspecStore

from engine.errors import DataError
from engine.spec import is_url

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

STALLED_S = 60.0  # without a connection, or a byte
PAUSES_S = (1.0, 4.0)  # before the second and the third try
REFUSALS = (401, 403)  # HTTP status of what isn't tried again


class PatientStore(FsspecStore):
    """Zarr store that tries again where a server fails for the moment, and names the address where it keeps failing."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a key, or a part of it; None if it isn't there. Raises OSError."""
        for pause in (*PAUSES_S, None):
            try:
                return await super().get(key, prototype, byte_range)
            except Exception as error:
                if pause is None or _is_refused(error):
                    raise OSError(f"{self.path.rstrip('/')}/{key}: {_reason(error)}") from error
            await asyncio.sleep(pause)
        raise AssertionError


def open_remote_zarr(url: str) -> xr.Dataset:
    """Open a Zarr store at an address, undecoded; raises OSError, and DataError if a library is missing."""
    try:
        store = PatientStore.from_url(url, storage_options=_options(url), read_only=True)
        _try_once(store.fs)
    except (ImportError, ValueError) as error:  # of an optional part of fsspec, as s3fs; of an unknown protocol
        raise _missing(url, error) from error
    try:
        return _undecoded(store, is_consolidated=True)
    except ValueError:
        dataset = _undecoded(store, is_consolidated=False)
    if not dataset.variables:
        raise DataError(
            f"{url} has no consolidated metadata, and its server doesn't list what is in it",
            action="add them (Python: zarr.consolidate_metadata(store))",
        )
    return dataset


def open_reference(path: str) -> xr.Dataset:
    """Open a Kerchunk reference, a file here or at an address, undecoded; raises as `open_remote_zarr` does."""
    try:
        from fsspec.implementations.reference import ReferenceFileSystem

        remote = {"asynchronous": True, **_options("s3:" if _refers_to_s3(path) else "https:")}
        files = ReferenceFileSystem(path, target_options=_options(path), remote_options=remote, asynchronous=True)
    except ImportError as error:
        raise _missing(path, error) from error
    for part in files.fss.values():
        _try_once(part)
    return _undecoded(PatientStore(files, read_only=True), is_consolidated=False)


def _undecoded(store: Any, is_consolidated: bool) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarr", decode_cf=False, consolidated=is_consolidated)


def _options(url: str) -> dict[str, Any]:
    if url.startswith("s3:"):  # the store tries again, so that botocore and s3fs needn't
        limits = {"connect_timeout": STALLED_S, "read_timeout": STALLED_S, "retries": {"max_attempts": 0}}
        return {"config_kwargs": limits, "max_concurrency": 1}  # in parts at once asks for the size of each chunk first
    if not url.startswith(("http:", "https:")):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALLED_S, sock_read=STALLED_S)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


def _try_once(files: Any) -> None:
    """Leave it to the store to try again; s3fs would do it five times of its own."""
    if hasattr(files, "retries"):
        files.retries = 1


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
    return f"no answer within {STALLED_S:g} s" if is_stalled else str(error) or type(error).__name__


def _missing(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is read by fsspec, which lacks something ({error})",
        action="pip install 'mesoscope[remote]', or with conda: conda install fsspec aiohttp s3fs",
    )
