"""Zarr stores and Kerchunk references behind a URL, by fsspec, an optional dependency.

Credentials come from where fsspec and its parts look for them, as `~/.netrc`, never from a spec.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import xarray as xr
from zarr.storage import FsspecStore

from engine.errors import DataError

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
                if pause is None or getattr(error, "status", None) in REFUSALS:
                    raise OSError(f"{self.path.rstrip('/')}/{key}: {_reason(error)}") from error
            await asyncio.sleep(pause)
        raise AssertionError


def open_remote_zarr(url: str) -> xr.Dataset:
    """Open a Zarr store at an address, undecoded; raises OSError, and DataError if a library is missing."""
    try:
        store = PatientStore.from_url(url, storage_options=_options(url), read_only=True)
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

        remote = {"asynchronous": True, **_options("https:")}
        files = ReferenceFileSystem(path, target_options=_options(path), remote_options=remote, asynchronous=True)
    except ImportError as error:
        raise _missing(path, error) from error
    return _undecoded(PatientStore(files, read_only=True), is_consolidated=False)


def _undecoded(store: Any, is_consolidated: bool) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarr", decode_cf=False, consolidated=is_consolidated)


def _options(url: str) -> dict[str, Any]:
    if not url.startswith(("http:", "https:")):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALLED_S, sock_read=STALLED_S)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


def _reason(error: Exception) -> str:
    return (
        f"no answer within {STALLED_S:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    )


def _missing(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is read by fsspec, which lacks something ({error})",
        action="pip install 'mesoscope[remote]', or with conda: conda install fsspec aiohttp; for s3:// also s3fs",
    )
