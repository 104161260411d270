"""What travels to a target, and what is made of it there: whole, in its place, or refused."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from engine.errors import DataError
from engine.files import tree_sha256
from engine.launch.remote import agent, bootstrap, staging
from engine.launch.remote.protocol import DescribeSite, PlaceInput
from engine.spec import Spec
from tests.engine.data.mock import write_field


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The folder of a target."""
    for name in bootstrap.FOLDERS:
        (tmp_path / "there" / name).mkdir(parents=True)
    return tmp_path / "there"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A Zarr store."""
    write_field(tmp_path / "hr.zarr", ny=8, nx=12, times=40)
    return tmp_path / "hr.zarr"


def inputs(path: Path) -> dict[str, Path]:
    plain = {"version": 1, "data": {"target": {"path": str(path)}, "scale": 2}, "launch": {"upload": True}}
    return staging.inputs_of(Spec.from_plain(plain), "/there").files


def sent(target: Path, content: bytes, name: str, *, packed: bool = True) -> Path:
    """What became of an input that came in."""
    (target / "incoming" / "in-1").write_bytes(content)
    agent.place_input(target, PlaceInput("in-1", name, packed))
    return target / "data" / name


def content_of(path: Path) -> bytes:
    return b"".join(staging.content_of(path))


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_zarr_store_arrives_whole(target, store):
    ((name, path),) = inputs(store).items()
    assert (path, name.partition("/")[2]) == (store, "hr.zarr")
    goal = sent(target, content_of(store), name)
    assert files_in(goal) == files_in(store)
    copy, own = (xr.open_zarr(path, consolidated=False).load() for path in (goal, store))
    xr.testing.assert_identical(copy, own)
    assert sum(map(len, files_in(store).values())) == staging.size_of(store)
    assert not list((target / "incoming").iterdir())
    assert sent(target, content_of(store), name) == goal  # somebody else was faster
    assert files_in(goal) == files_in(store)
    assert not list((target / "incoming").iterdir())


def test_files_that_are_hidden_empty_or_far_below_go_too(target, tmp_path):
    folder = tmp_path / "odd.zarr"
    long = "/".join(["a" * 90] * 4)
    for name in (".zgroup", "é/0.0", long, "line\nbreak"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name if name != ".zgroup" else "")
    ((name, _),) = inputs(folder).items()
    assert files_in(sent(target, content_of(folder), name)) == files_in(folder)


def test_the_checksum_of_a_folder_is_that_of_names_and_contents_alone(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x")
    (tmp_path / "a" / "b-").write_bytes(b"y")  # before b/c by its bytes: "-" is 0x2d, "/" is 0x2f
    x, y = (hashlib.sha256(text).hexdigest() for text in (b"x", b"y"))
    expected = hashlib.sha256(f"2 b-{y}3 b/c{x}".encode()).hexdigest()
    assert tree_sha256(tmp_path / "a") == expected
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    os.utime(tmp_path / "copy" / "b-", (0, 0))
    assert tree_sha256(tmp_path / "copy") == expected
    (tmp_path / "copy" / "b-").rename(tmp_path / "copy" / "c-")
    assert tree_sha256(tmp_path / "copy") != expected


def link_out(store: Path) -> None:
    (store / "c").symlink_to("/etc/passwd")


def link_up(store: Path) -> None:
    (store / "c").symlink_to("../hr.zarr.secret")
    store.with_name("hr.zarr.secret").write_text("x")


def linked_folder_out(store: Path) -> None:
    (store / "c").symlink_to("/etc")


def linked_folder(store: Path) -> None:
    (store / "c").symlink_to(".")


def broken_link(store: Path) -> None:
    (store / "c").symlink_to("nothing")


def pipe(store: Path) -> None:
    os.mkfifo(store / "c")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (link_out, "leads out of"),
        (link_up, "leads out of"),
        (linked_folder_out, "leads out of"),
        (linked_folder, "a link to a folder|leads out of"),
        (broken_link, "no plain file"),
        (pipe, "no plain file"),
    ],
)
def test_what_is_no_file_of_the_store_is_refused(prepare: Callable[[Path], None], words, store):
    prepare(store)
    with pytest.raises(DataError, match=f"(?s)hr.zarr/c is .*({words}).*put a copy in its place"):
        inputs(store)


def test_a_link_within_the_store_is_sent_as_a_file(target, store):
    (store / "c").symlink_to("zarr.json")
    ((name, _),) = inputs(store).items()
    copy = sent(target, content_of(store), name) / "c"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (store / "zarr.json").read_bytes()


def test_an_empty_folder_is_no_input(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match="a folder without files"):
        inputs(tmp_path / "empty.zarr")


def test_a_store_that_changes_while_it_is_sent_is_refused(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    for name in ("one", "two"):
        (tmp_path / "a.zarr" / name).write_bytes(b"x" * 1000)
    content = staging.content_of(tmp_path / "a.zarr")
    for _ in range(3):  # header, content and filling of the first
        next(content)
    next(content)  # the header of the second, with its size
    with open(tmp_path / "a.zarr" / "two", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="two was changed while it was sent"):
        list(content)


def test_a_store_that_arrives_damaged_is_not_taken(target, store):
    ((name, _),) = inputs(store).items()
    content = bytearray(content_of(store))
    content[512] ^= 1  # the first byte after the first header
    for damaged in (bytes(content), content_of(store)[:-3000], b""):
        with pytest.raises(ValueError, match="arrived damaged"):
            sent(target, damaged, name)
        assert not (target / "data" / name).exists()
        assert not list((target / "incoming").iterdir())


def archive(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        file.addfile(member)
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(archive("../canary"), id="above"),
        pytest.param(archive("a/../../canary"), id="above by a way round"),
        pytest.param(archive("/canary"), id="absolute"),
        pytest.param(archive("a", tarfile.SYMTYPE, "/etc"), id="link"),
        pytest.param(archive("a", tarfile.LNKTYPE, "/etc/passwd"), id="hard link"),
        pytest.param(archive("a", tarfile.FIFOTYPE), id="pipe"),
        pytest.param(archive("a", tarfile.CHRTYPE), id="device"),
        pytest.param(archive("a", tarfile.DIRTYPE), id="folder"),
    ],
)
def test_an_archive_that_holds_more_than_plain_files_is_refused(content, target):
    before = set(target.rglob("*"))
    with pytest.raises(ValueError, match="which is no plain file"):
        sent(target, content, f"{'0' * 64}/a.zarr")
    assert set(target.rglob("*")) == before


def test_what_came_in_and_was_never_used_is_cleared(target):
    old = target / "incoming" / "in-2.d"
    (old / "a").mkdir(parents=True)
    (old / "a" / "b").write_text("x")
    (target / "incoming" / "in-3").write_text("x")
    for path in (old, target / "incoming" / "in-3"):
        os.utime(path, (0, 0))
    (target / "incoming" / "in-4").write_text("x")
    agent.describe_site(target, DescribeSite())
    assert [path.name for path in (target / "incoming").iterdir()] == ["in-4"]
