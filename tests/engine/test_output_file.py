"""Outputs that would lose data, or can't be written, are refused before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.cli.output_file import checked_output
from engine.errors import RequestError


@pytest.fixture
def lr(tmp_path: Path) -> Path:
    (tmp_path / "lr.nc").write_bytes(b"data")
    return tmp_path / "lr.nc"


def refusal(output: Path, lr: Path, *, overwrite: bool = False) -> str:
    before = sorted(lr.parent.iterdir())
    with pytest.raises(RequestError) as caught:
        checked_output(output, [str(lr)], overwrite=overwrite)
    assert sorted(lr.parent.iterdir()) == before
    assert lr.read_bytes() == b"data"
    return str(caught.value)


def test_a_new_file_leaves_nothing_behind_yet(lr):
    output = lr.with_name("out.nc")
    assert checked_output(output, [str(lr)], overwrite=False) == output
    assert [path.name for path in lr.parent.iterdir()] == ["lr.nc"]


@pytest.mark.parametrize("link", ["", "symlink_to", "hardlink_to"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_input_is_never_the_output(lr, link, overwrite):
    output = lr
    if link:
        output = lr.with_name("out.nc")
        getattr(output, link)(lr)
    expected = f"{output.resolve()} is also the input: give another name, so that no data are lost"
    assert refusal(output, lr, overwrite=overwrite) == expected


def test_an_existing_file_needs_overwrite(lr):
    output = lr.with_name("out.nc")
    output.write_bytes(b"old")
    assert refusal(output, lr) == f"{output} exists already: give another name, or --overwrite to replace it"
    assert checked_output(output, [str(lr)], overwrite=True) == output
    assert output.read_bytes() == b"old"


def test_only_regular_files_are_replaced(lr):
    pipe = lr.with_name("pipe")
    os.mkfifo(pipe)
    for output in (pipe, Path("/dev/null")):
        assert refusal(output, lr, overwrite=True) == f"{output} is no regular file: give the name of a file"
    assert refusal(lr.parent, lr, overwrite=True) == f"{lr.parent} is a folder: give the name of a file"


def test_what_cannot_be_written(lr):
    missing = lr.with_name("missing")
    assert refusal(missing / "out.nc", lr) == f"{missing} is no folder: give a file in a folder that exists"
    assert refusal(lr / "out.nc", lr) == f"{lr} is no folder: give a file in a folder that exists"
    long = lr.with_name("x" * 250)  # room for the name, but not for that of the temporary file
    assert refusal(long, lr) == f"{long} can't be written (File name too long): choose another folder or name"
    circle = lr.with_name("circle")
    circle.symlink_to(circle)
    assert "circle" in refusal(circle, lr)


def test_a_link_to_nowhere_is_followed(lr):
    link = lr.with_name("link.nc")
    link.symlink_to("real.nc")
    assert checked_output(link, [str(lr)], overwrite=False) == lr.with_name("real.nc")
