"""What a run will ask of the memory, foretold by the rules that it goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import memory_estimate
from engine.check import summarize
from engine.memory_estimate import BASE_BYTES
from engine.models.shapes import Shape
from engine.training.memory_budget import RUNTIME_BYTES, ahead_bytes, needed
from tests.engine.data.mock import make_field, steps, write_field
from tests.engine.test_check import spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_field(tmp_path / "hr.nc", ny=9, nx=12, times=steps(20, start="2001-01-01T06"))
    write_field(tmp_path / "p.nc", ny=9, nx=12, times=steps(20, start="2001-01-01T06"), seed=1)
    return tmp_path


def test_whether_the_training_part_is_read_from_the_files_is_foretold(folder, monkeypatch):
    """By the rule that the training goes by, of the memory that is free when it begins."""
    chosen, part = spec(folder), 4 * 10 * (96 + 6)
    plain = summarize(chosen)
    reserved = plain.memory_bytes - BASE_BYTES - 4 * 24 * 102
    enough = needed(part, reserved) + BASE_BYTES - RUNTIME_BYTES + 4
    monkeypatch.setattr(memory_estimate, "free_memory", lambda processes: enough // processes)
    assert summarize(chosen).notes == plain.notes
    two = summarize(spec(folder, launch={"processes": 2}))
    assert two.notes[-1].startswith("the training part (4.0 KiB) is read from the files all the while: of the memory ")
    assert two.memory_bytes == BASE_BYTES + ahead_bytes(Shape(2, 3, 1, 0, 4), 16, 0) + reserved


def test_chunks_of_many_steps_are_told_where_they_are_read_again_and_again(folder, monkeypatch):
    field = make_field(ny=9, nx=12, times=steps(20, start="2001-01-01T06"))
    (folder / "hr.nc").unlink()
    field.to_netcdf(folder / "hr.nc", encoding={"t2m": {"chunksizes": (5, 3, 12), "zlib": True}})
    assert not any("chunks" in note for note in summarize(spec(folder)).notes)
    monkeypatch.setattr(memory_estimate, "free_memory", lambda processes: 0)
    notes = summarize(spec(folder, data={"predictors": [{"path": "p.nc"}]})).notes
    assert [note for note in notes if "chunks" in note] == [  # 4 further steps of 9 × 12 cells of float32
        "data.target is stored in chunks of 5 time steps: each that is read decompresses 4 others, 1.7 KiB for nothing"
        "; write it anew with one step in a chunk (netCDF: nccopy -c time/1)"
    ]


def test_of_another_machine_it_is_told_what_has_to_be_free(folder):
    (_, memory_note) = summarize(spec(folder, launch={"site": "hpc"})).notes
    assert memory_note.startswith(
        "the memory of hpc isn't known here: the training part (4.0 KiB) is kept in memory where "
    )
    assert memory_note.endswith(" are free for each process, else read from the files")


def test_prediction_counts_where_it_takes_more_than_training(tmp_path):
    write_field(tmp_path / "hr.nc", ny=900, nx=800, times=4, dy=0.01, dx=0.01)
    halves = {"train": 0.5, "validation": 0.25, "test": 0.25}
    patches = {"data": {"split": halves, "patch_size": 16}, "training": {"batch_size": 1}}
    tiles, whole = (
        summarize(spec(tmp_path, model={"localized": False, "attention": attention}, **patches))
        for attention in (False, True)
    )
    assert not any("predicted" in note for note in tiles.notes)
    assert whole.memory_bytes > tiles.memory_bytes > BASE_BYTES + 4 * 5 * (900 * 800 + 225 * 200)
    assert whole.notes[-1].startswith("fields are predicted whole, ")
    assert whole.notes[-1].endswith(
        "not in tiles: attention takes means over a field (without it, model.attention=false, memory is bounded)"
    )
