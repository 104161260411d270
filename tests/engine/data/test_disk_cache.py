"""Cache on disk: what it keeps and removes, who may read it, and what happens where it can't be written."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.data import disk_cache
from engine.data.fields import open_field
from engine.spec import Source
from tests.engine.data.data_server import serving
from tests.engine.data.mock import make_field
from tests.engine.data.test_rasters import write_tiff
from tests.engine.data.test_remote_data import with_days, write_reference, write_zarr

FIELD = make_field()
ENTRY = 1000 - disk_cache.CRC_BYTES  # bytes, so that each takes 1000 on disk
pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:zarr.errors.ZarrUserWarning"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the entries, not there yet."""
    monkeypatch.setenv("MESOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", "1")
    monkeypatch.setattr(disk_cache, "_UNUSABLE", set())
    monkeypatch.setattr(disk_cache, "_NOTED", set())
    return tmp_path / "cache" / "remote"


def files_of(cache: Path) -> list[Path]:
    return [path for path in cache.glob("??/*") if path.is_file()]


def limit(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", repr(n_bytes / 2**30))
    assert disk_cache.limit_bytes() == n_bytes


def test_what_was_unused_for_longest_makes_room(cache, monkeypatch):
    limit(monkeypatch, 8000)
    for used, name in enumerate("abcdefgh", 1):
        before = files_of(cache)
        disk_cache.put(name, ENTRY * name.encode())
        (new,) = set(files_of(cache)) - set(before)
        os.utime(new, (used, used))
    assert disk_cache.state().n_bytes == 8000  # the limit itself
    assert disk_cache.get("a") == ENTRY * b"a"  # used last
    disk_cache.put("i", ENTRY * b"i")  # down to 7/8 of the limit with it: b and c go
    assert [name for name in "abcdefghi" if disk_cache.get(name) is None] == ["b", "c"]
    assert disk_cache.state().n_bytes == 7000
    disk_cache.put("large", 1001 * b"-")  # more than 1/8 of the limit
    assert disk_cache.get("large") is None


def write_entries(number: int) -> None:
    for k in range(40):
        disk_cache.put(f"{number} {k}", ENTRY * b"x")
        with open(disk_cache.folder() / "total", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            assert disk_cache.state().n_bytes <= 20_000


def test_several_that_write_at_once_stay_below_the_limit(cache, monkeypatch):
    limit(monkeypatch, 20_000)
    with ThreadPoolExecutor(4) as threads:  # the lock is one of open files: threads exclude each other as processes do
        list(threads.map(write_entries, range(4)))
    assert 10_000 < disk_cache.state().n_bytes <= 20_000
    assert len(files_of(cache)) == disk_cache.state().entries


def test_damaged_and_old_entries_are_none(cache):
    disk_cache.put("a", b"content")
    assert disk_cache.get("a", max_age_s=60) == b"content"
    (path,) = files_of(cache)
    os.utime(path, (time.time(), time.time() - 61))
    assert disk_cache.get("a", max_age_s=60) is None
    assert disk_cache.get("a") == b"content"
    path.write_bytes(path.read_bytes()[:-1])
    assert disk_cache.get("a") is None
    (cache / "total").write_text("dam")  # as of a process that was killed; it is counted anew
    disk_cache.put("b", b"content")
    assert int((cache / "total").read_text()) == disk_cache.state().n_bytes


def test_others_can_not_read_it_and_what_they_could_have_written_is_not_taken(cache, caplog):
    disk_cache.put("a", b"content")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (cache, *cache.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    cache.chmod(0o755)
    assert disk_cache.get("a") is None
    disk_cache.put("b", b"content")
    assert [record.getMessage() for record in caplog.records] == [
        f"the cache of remote data in {cache} can't be written (it is a link, or others may read it): "
        "data are read without it; set MESOSCOPE_CACHE to another folder"
    ]


@pytest.mark.parametrize("reason", ["No space left on device", "Not a directory"])
def test_where_it_can_not_be_written_data_are_read_with_one_note(reason, tmp_path, monkeypatch, caplog):
    if reason == "Not a directory":
        (tmp_path / "cache").write_text("a file")
    else:
        monkeypatch.setattr(disk_cache, "_crc", lambda content: (_ for _ in ()).throw(OSError(28, reason)))
    write_zarr(tmp_path / "a.zarr", FIELD)
    with serving(tmp_path) as server:
        np.testing.assert_array_equal(open_field(Source(f"{server.url}/a.zarr")), FIELD["t2m"])
    (note,) = [record.getMessage() for record in caplog.records if record.name == disk_cache.__name__]
    assert f"can't be written ({reason}): data are read without it" in note
    assert not list((tmp_path / "cache").glob("remote/??/*"))


def test_of_a_full_disk_no_half_entry_stays(small_disk, monkeypatch, caplog):
    monkeypatch.setenv("MESOSCOPE_CACHE", str(small_disk))
    for number in range(4):  # of 30 KB on a disk of 64 KiB, or the last a file of more than that
        disk_cache.put(str(number), (30_000 + 50_000 * (number == 3)) * b"x")
    assert len(caplog.records) == 1
    kept = [number for number in range(4) if disk_cache.get(str(number)) is not None]
    assert kept == list(range(len(kept)))
    assert len(files_of(small_disk / "remote")) == len(kept) < 4


@pytest.mark.parametrize("given", ["much", "nan", "inf"])
def test_a_limit_that_is_no_number_turns_it_off(given, cache, monkeypatch, caplog):
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", given)
    disk_cache.put("a", b"content")
    assert not cache.exists()
    assert f"MESOSCOPE_CACHE_GIB is {given!r}, not a number" in caplog.text


def rewrite(folder: Path, form: str, values: np.ndarray) -> None:
    """Write other values of the same shape, ten seconds later."""
    later = FIELD.assign(t2m=FIELD["t2m"].copy(data=values))
    if form == "raster":
        write_tiff(folder / "a.tif", values[0])
    else:
        shutil.rmtree(folder / "a.zarr")
        write_zarr(folder / "a.zarr", later, compressors=None)
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 10))


@pytest.mark.parametrize("form", ["zarr", "reference", "opendap", "raster"])
def test_a_source_that_changed_is_read_again(form, tmp_path):
    served, other = tmp_path / "served", FIELD["t2m"].values + 1
    served.mkdir()
    write_zarr(served / "a.zarr", FIELD, compressors=None)  # so that references stay right
    write_tiff(served / "a.tif", FIELD["t2m"].values[0])
    with serving(served, with_days(FIELD)) as server:
        write_reference(tmp_path / "a.json", served / "a.zarr", f"{server.url}/a.zarr")
        paths = {
            "zarr": f"{server.url}/a.zarr",
            "reference": str(tmp_path / "a.json"),
            "opendap": server.dap_url,
            "raster": f"{server.url}/a.tif",
        }

        def values() -> np.ndarray:
            field = open_field(Source(paths[form]), static=form == "raster")
            return field.values if form != "raster" else field.values[None]

        count = 1 if form == "raster" else 20
        np.testing.assert_array_equal(values(), FIELD["t2m"].values[:count])
        rewrite(served, form, other)
        changed = with_days(FIELD.assign(t2m=FIELD["t2m"].copy(data=other)))
        changed["t2m"].attrs["comment"] = "corrected"
        server.dataset = changed
        np.testing.assert_array_equal(values(), other[:count])


def test_chunks_changed_in_place_are_read_again_after_a_day(cache, tmp_path):
    write_zarr(tmp_path / "a.zarr", FIELD)
    with serving(tmp_path) as server:
        source = Source(f"{server.url}/a.zarr")
        np.testing.assert_array_equal(open_field(source)[3], FIELD["t2m"][3])
        other = tmp_path / "a.zarr" / "t2m" / "4.0.0"
        (tmp_path / "a.zarr" / "t2m" / "3.0.0").write_bytes(other.read_bytes())
        np.testing.assert_array_equal(open_field(source)[3], FIELD["t2m"][3])
        for path in files_of(cache):
            os.utime(path, (time.time(), time.time() - 86_401))
        np.testing.assert_array_equal(open_field(source)[3], FIELD["t2m"][4])


def test_the_command_shows_and_empties_it(cache, capsys, monkeypatch):
    disk_cache.put("a", ENTRY * b"x")
    assert main(["catalog", "cache", "--json"]) == 0
    shown = {"folder": str(cache), "entries": 1, "n_bytes": 1000, "limit_bytes": 2**30}
    assert json.loads(capsys.readouterr().out) == shown
    assert main(["catalog", "list"]) == 0
    assert f"remote data are cached in {cache}: 0.00 of at most 1 GiB" in capsys.readouterr().out
    assert main(["catalog", "cache", "--empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown | {"entries": 0, "n_bytes": 0}
    assert not files_of(cache)
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", "0")
    assert main(["catalog", "cache"]) == 0
    assert "remote data are not cached" in capsys.readouterr().out
