"""Catalogues: what is damaged is named and hides nothing, what is added keeps the rest, and files are checked."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from engine.cli import main
from engine.data.catalogue import Catalogue, Entry, Role, add
from engine.errors import CatalogueError
from engine.spec import Period, Region, Source
from tests.engine.data.mock import steps, write_field

HAND_MADE = """\
# What I use most
era5:            # hourly
  path: era5/*.nc
  variable: t2m
  unit: K
  period: ['2001', '2010']
"""


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's catalogue, not written yet; the administrator's has none."""
    monkeypatch.setenv("MESOSCOPE_CATALOG", str(tmp_path / "own" / "catalog.yaml"))
    monkeypatch.setenv("MESOSCOPE_SITE_CATALOG", str(tmp_path / "site.yaml"))
    return tmp_path / "own" / "catalog.yaml"


def entry(name: str) -> Entry:
    return Entry(name, Source(f"/data/{name}.nc"), Role.LR)


def command(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, object]:
    assert main(["catalog", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_file_added_is_described_by_itself(catalogue, tmp_path, capsys):
    write_field(tmp_path / "hr.nc", ny=8, nx=12, times=20)  # 40 to 43.5 °N, 0 to 5.5 °E, 0.5° apart; daily
    command(capsys, "add", "obs", tmp_path / "hr.nc", "--licence", "CC BY 4.0")
    (found,) = Catalogue.read().entries
    assert found == Entry(
        "obs",
        Source(str(tmp_path / "hr.nc"), "t2m"),
        Role.TARGET,
        title=found.title,
        unit="K",
        licence="CC BY 4.0",
        region=Region((39.75, 43.75), (-0.25, 5.75)),
        period=Period("2001-01-01T00:00", "2001-01-20T00:00"),
        file=catalogue,
    )
    (row,) = command(capsys, "list")["entries"]
    assert (row["name"], row["period"]) == ("obs", ["2001-01-01T00:00", "2001-01-20T00:00"])
    assert command(capsys, "check") == {"entries": [{"name": "obs", "faults": []}]}


def test_a_field_without_times_is_static(catalogue, tmp_path, capsys):
    write_field(tmp_path / "z.nc", times=0)
    assert command(capsys, "add", "z", tmp_path / "z.nc")["role"] == "static"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "obs"], "expected catalog add NAME PATH"),
        (["add", "two words", "hr.nc"], "two words"),
        (["add", "obs", "nowhere.nc"], "doesn't exist"),
        (["check", "era"], "did you mean 'era5'"),
        (["check", "worse"], "worse.path is 3"),
    ],
)
def test_what_is_wrong_is_refused_in_words(catalogue, tmp_path, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    write_field(tmp_path / "hr.nc")
    catalogue.parent.mkdir()
    catalogue.write_text(HAND_MADE + "worse: {path: 3}\n")
    assert says in command(capsys, *arguments, code=2)["error"]


def test_check_says_what_changed_in_the_files(catalogue, tmp_path, capsys):
    """20 days from 2001-01-01 in K: a period as exact as the user gave it fits; 2002 and °C don't."""
    write_field(tmp_path / "hr.nc", times=steps(20))
    (tmp_path / "site.yaml").write_text(
        "fits: {path: hr.nc, variable: t2m, unit: K, period: ['2001', '2001-01']}\n"
        "changed: {path: hr.nc, variable: t2m, unit: degC, period: ['2001', '2002'], role: static}\n"
        "gone: {path: gone.nc}\n"
        "renamed: {path: hr.nc, variable: tas}\n"
    )
    found = {one["name"]: "; ".join(one["faults"]) for one in command(capsys, "check", code=1)["entries"]}
    assert found["fits"] == ""
    assert "unit is K in the file, but degC in the catalogue" in found["changed"]
    assert "2001-01-20T00:00 in the file, but 2001 to 2002 in the catalogue" in found["changed"]
    assert "role is static, but the variable has times" in found["changed"]
    assert "doesn't exist" in found["gone"]
    assert "has no variable 'tas'" in found["renamed"]


def test_a_damaged_entry_is_named_with_its_line_and_hides_no_other(catalogue, capsys):
    catalogue.parent.mkdir()
    text = HAND_MADE + "torn: {path: [\n" + "again: {path: a.nc}\nagain: {path: b.nc}\nodd: {path: c.nc, colour: red}\n"
    catalogue.write_text(text + "2001: {path: d.nc}\nlast: {path: e.nc}\n")
    found = Catalogue.read()
    assert [one.name for one in found.entries] == ["era5", "again", "last"]
    assert [one.name for one in found.damages] == ["torn", "again", "odd", "2001"]
    assert "line 8" in found.damages[0].message  # torn stands on line 7, and isn't closed before the next
    assert "a second time" in found.damages[1].message
    assert "odd.colour is not known" in found.damages[2].message
    assert len(command(capsys)["damaged"]) == 4


def test_paths_start_at_the_folder_of_the_catalogue(catalogue):
    catalogue.parent.mkdir()
    catalogue.write_text(HAND_MADE)
    assert Catalogue.read().entries[0].source == Source(str(catalogue.parent / "era5/*.nc"), "t2m")


def test_the_user_s_entry_stands_for_the_administrator_s_of_its_name(catalogue, tmp_path):
    (tmp_path / "site.yaml").write_text("era5: {path: /site/era5.nc}\neobs: {path: /site/eobs.nc}\n")
    catalogue.parent.mkdir()
    catalogue.write_text(HAND_MADE)
    assert [(one.name, one.file.name) for one in Catalogue.read().entries] == [
        ("era5", "catalog.yaml"),
        ("eobs", "site.yaml"),
    ]


def test_adding_keeps_comments_links_and_permissions(catalogue, tmp_path):
    (tmp_path / "dotfiles").write_text(HAND_MADE)
    (tmp_path / "dotfiles").chmod(0o644)
    catalogue.parent.mkdir()
    catalogue.symlink_to(tmp_path / "dotfiles")
    add(entry("new"))
    assert catalogue.is_symlink()
    assert catalogue.read_text().startswith(HAND_MADE)
    assert stat.S_IMODE(catalogue.stat().st_mode) == 0o644
    assert [one.name for one in Catalogue.read().entries] == ["era5", "new"]


@pytest.mark.parametrize("text", ["{era5: {path: a.nc}}\n", "new: {path: a.nc}\n", "new: 3\n"])
def test_what_can_t_be_appended_leaves_the_file_as_it_is(catalogue, text):
    catalogue.parent.mkdir()
    catalogue.write_text(text)
    with pytest.raises(CatalogueError):
        add(entry("new"))
    assert catalogue.read_text() == text


def test_many_who_add_at_once_lose_nothing(catalogue):
    at_once = Barrier(8)

    def write(number: int) -> None:
        at_once.wait()
        add(entry(f"e{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert sorted(one.name for one in Catalogue.read().entries) == [f"e{number}" for number in range(8)]
