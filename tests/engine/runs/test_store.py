"""Ids of runs: names of visible folders in the store, whatever a link or a user gives."""

from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.runs import Store, check_run_id


@pytest.mark.parametrize("name", ["20261124-101500-resnet-spc-t2m-1a2b", "a", "my run", "Fluß", "é" * 127])
def test_the_name_of_a_folder_is_an_id(name):
    assert check_run_id(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "../a", "a/b", "/etc", "a\\b", "a,b", "a\0b", "a\nb", "a\n", "é" * 128, "\ud800" * 300],
)
def test_what_is_empty_hidden_or_elsewhere_is_not_an_id(name):
    with pytest.raises(StoreError, match="is not the id of a run: the name of a folder in the store"):
        check_run_id(name)


def test_the_store_lists_what_can_be_asked_for(tmp_path: Path):
    for name in ("a", ".a", "a,b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").touch()
    assert [run.id for run in Store(tmp_path).runs()] == ["a"]
