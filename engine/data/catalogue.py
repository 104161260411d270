"""Catalogues of named data sets: the user's own file, which grows, beside an administrator's.

The user's is $MESOSCOPE_CATALOG, else ~/.config/mesoscope/catalog.yaml; the administrator's $MESOSCOPE_SITE_CATALOG,
else /etc/mesoscope/catalog.yaml. Each is a mapping from names to data sets, as `Entry.parse` reads them. New ones are
appended as text, so that what a user wrote, comments included, stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from engine.data.fields import open_either
from engine.data.grid_coordinates import grid_of
from engine.data.regions import region_of_box
from engine.data.times import encode, first_and_last
from engine.errors import CatalogueError, MesoscopeError, SpecError
from engine.files import private, whole_file
from engine.options import did_you_mean
from engine.spec import Period, Region, Source, flow_yaml, load_yaml

NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
NAME_EXPECTED = "expected at most 64 letters, digits, dots, dashes and underlines"
SOURCE_KEYS = ("path", "variable", "units", "select")
TEXT_KEYS = ("title", "unit", "licence")
KEYS = (*SOURCE_KEYS, "role", *TEXT_KEYS, "region", "period")
START_OF_ENTRY = re.compile(r"^(?=[^\s#])", re.MULTILINE)  # what isn't indented, and no comment
HEADER = "# Data sets by name; docs/data.md describes them. Comments and changes are kept when others are added.\n"


class Role(StrEnum):
    """Part that a data set most likely takes in a spec."""

    TARGET = "target"
    LR = "lr"
    PREDICTOR = "predictor"
    STATIC = "static"


@dataclass(frozen=True)
class Entry:
    """A named data set, with what its file said when it was added.

    unit : of the values; `source.units` stands in its place where a file has none, or a wrong one.
    file : the catalogue that it stands in.
    """

    name: str
    source: Source
    role: Role
    title: str = ""
    unit: str = ""
    licence: str = ""
    region: Region | None = None
    period: Period | None = None
    file: Path = Path()

    @classmethod
    def parse(cls, name: Any, plain: Any, file: Path) -> Self:
        """An entry of a catalogue, whose paths start at its folder; raises SpecError."""
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise SpecError(f"a data set has the name {name!r}", hint=NAME_EXPECTED, action="quote a number")
        if not isinstance(plain, Mapping):
            raise SpecError(f"{name} is {plain!r:.60}", hint=f"expected a mapping of {', '.join(KEYS)}")
        for word in plain:
            if word not in KEYS:
                raise SpecError(f"{name}.{word} is not known", hint=did_you_mean(str(word), KEYS))
        for word in TEXT_KEYS:
            if not isinstance(plain.get(word, ""), str):
                raise SpecError(f"{name}.{word} is {plain[word]!r}", hint="expected text")
        source = Source.parse({key: plain[key] for key in SOURCE_KEYS if key in plain}, name)
        role = plain.get("role", Role.TARGET)
        if role not in list(Role):
            raise SpecError(f"{name}.role is {role!r}", hint=did_you_mean(str(role), list(Role)))
        return cls(
            name=name,
            source=source.within(file.absolute().parent),
            role=Role(role),
            **{word: plain.get(word, "") for word in TEXT_KEYS},
            region=Region.parse(plain["region"], f"{name}.region") if "region" in plain else None,
            period=Period.parse(plain["period"], f"{name}.period") if "period" in plain else None,
            file=file,
        )

    @classmethod
    def of(cls, name: str, source: Source, *, role: str = "", title: str = "", licence: str = "") -> Self:
        """Describe a variable for the catalogue from its file, of which only the coordinates are read.

        role : target, or static without time, unless it is given.

        Raises
        ------
        DataError
            If the variable can't be opened.
        SpecError
            If the name can't be used.
        """
        field = open_either(source)
        found = str(field.attrs.get("long_name") or field.attrs.get("standard_name", "")).replace("_", " ")
        plain: dict[str, object] = {
            **replace(source, variable=str(field.name)).plain(),
            "role": role or (Role.STATIC if "time" not in field.dims else Role.TARGET),
            "title": title or found,
            "licence": licence,
            **_facts(field),
        }
        return cls.parse(name, plain, Path.cwd() / "catalogue")

    def plain(self) -> dict[str, object]:
        """Content of the file, without the name; what is empty is left out."""
        texts = {"role": str(self.role), **{word: getattr(self, word) for word in TEXT_KEYS}}
        values = {"region": self.region, "period": self.period}
        return {
            **self.source.plain(),
            **{word: text for word, text in texts.items() if text},
            **{word: value.plain() for word, value in values.items() if value is not None},
        }

    @property
    def text(self) -> str:
        """Title, unit, days and region on one line."""
        unit = self.source.units or self.unit
        title = self.title or self.source.variable or Path(self.source.files()[0]).name
        period = [" to ".join(date[:10] for date in self.period.plain())] if self.period else []
        region = []
        if self.region:
            (south, north), (west, east) = self.region.lat, self.region.lon
            lon = "all longitudes" if west == east else f"{west:.4g} to {east:.4g} °E"
            region = [f"{south:.4g} to {north:.4g} °N, {lon}"]
        return " · ".join([f"{title} ({unit})" if unit else title, *period, *region])

    def faults(self) -> list[str]:
        """Open the variable, and say what is wrong with it, or isn't as the catalogue has it any more."""
        try:
            field = open_either(self.source)
            said = _facts(field)
        except MesoscopeError as error:
            return [str(error)]
        period, changed = said.get("period"), []
        if self.unit and self.unit != said.get("unit"):
            changed.append(f"unit is {said.get('unit', 'not given')} in the file, but {self.unit} in the catalogue")
        if self.period and not (period and all(map(str.startswith, period, self.period.plain()))):  # '2001' will do
            found = f"is {' to '.join(period)} in the file" if period else "has no times"
            changed.append(f"period {found}, but {' to '.join(self.period.plain())} in the catalogue")
        if period and self.role is Role.STATIC:
            changed.append("role is static, but the variable has times")
        return [*changed, f"correct it in {self.file}"] if changed else []


@dataclass(frozen=True)
class Damage:
    """Part of a catalogue that can't be read: one entry, or a whole file (without a name)."""

    file: Path
    message: str
    name: str = ""


@dataclass(frozen=True)
class Catalogue:
    """Data sets in the order of their files, and what is damaged there, which hides no other."""

    entries: tuple[Entry, ...] = ()
    damages: tuple[Damage, ...] = ()

    @classmethod
    def read(cls) -> Self:
        """The user's data sets, then those of the administrator whose names the user's don't have."""
        own, shared = (cls.read_file(path) for path in (user_file(), site_file()))
        names = {entry.name for entry in own.entries}
        others = tuple(entry for entry in shared.entries if entry.name not in names)
        return cls(own.entries + others, own.damages + shared.damages)

    @classmethod
    def read_file(cls, file: Path) -> Self:
        """One file; empty where there is none."""
        try:
            return cls.parse(file.read_text(encoding="utf-8"), file)
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            return cls(damages=(Damage(file, f"{file} can't be read ({error})"),))

    @classmethod
    def parse(cls, text: str, file: Path) -> Self:
        """The entries of a file's text; where it is no YAML, each entry by itself."""
        entries: dict[str, Entry] = {}
        damages: list[Damage] = []
        for name, plain, fault in _blocks(text, str(file)):
            try:
                if fault:
                    raise fault
                entry = Entry.parse(name, plain, file)
                if entry.name in entries:
                    raise SpecError(f"{entry.name} is given a second time", action="give it another name")
                entries[entry.name] = entry
            except SpecError as error:
                damages.append(Damage(file, str(error), str(name)))
        return cls(tuple(entries.values()), tuple(damages))

    def named(self, name: str) -> Entry:
        """Raises CatalogueError if there is none of that name, or it is damaged."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        for damage in self.damages:
            if damage.name == name:
                raise CatalogueError(f"{damage.file}: {damage.message}")
        raise CatalogueError(
            f"{name} is not in the catalogue", hint=did_you_mean(name, [entry.name for entry in self.entries])
        )


def add(entry: Entry) -> Path:
    """Append an entry to the user's catalogue, which appears whole; returns the file.

    Raises
    ------
    CatalogueError
        If the name is taken there, or the file can't be written, or not be appended to.
    """
    path = Path(os.path.realpath(user_file()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name(f".{path.name}.lock"), "ab", opener=private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = path.read_text(encoding="utf-8") if path.exists() else HEADER
            before = Catalogue.parse(text, path)
            if entry.name in {one.name for one in before.entries} | {one.name for one in before.damages}:
                raise CatalogueError(
                    f"{entry.name} is in {path} already", action="choose another name, or edit the file"
                )
            if re.search(r"^\{", text, re.MULTILINE):
                raise CatalogueError(
                    f"{path} can't be appended to", action="write each data set as lines of its own, not all in braces"
                )
            lines = [f"  {word}: {flow_yaml(value)}\n" for word, value in entry.plain().items()]
            text = f"{text.rstrip()}\n\n{flow_yaml(entry.name)}:\n{''.join(lines)}"
            with whole_file(path) as sibling:
                sibling.write_text(text, encoding="utf-8")
                if path.exists():
                    shutil.copymode(path, sibling)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path} can't be written ({error})", action="set MESOSCOPE_CATALOG to another") from None
    return path


def user_file() -> Path:
    """The user's catalogue, which need not be there yet."""
    return Path(os.environ.get("MESOSCOPE_CATALOG") or Path.home() / ".config" / "mesoscope" / "catalog.yaml")


def site_file() -> Path:
    """The administrator's catalogue, which need not be there."""
    return Path(os.environ.get("MESOSCOPE_SITE_CATALOG") or "/etc/mesoscope/catalog.yaml")


def _blocks(text: str, where: str) -> list[tuple[Any, Any, SpecError | None]]:
    """Name, content and fault of each entry of a text."""
    try:
        plain = load_yaml(text, where)
        if plain is None:
            return []
        if isinstance(plain, Mapping):
            return [(name, content, None) for name, content in plain.items()]
    except SpecError:
        pass
    found: list[tuple[Any, Any, SpecError | None]] = []
    starts = [match.start() for match in START_OF_ENTRY.finditer(text)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        block = text[start:end]
        name = block.split(":")[0].strip().strip("\"'")[:64]
        try:
            found += _entries_of(block, name)
        except SpecError:
            try:
                _entries_of("\n" * text.count("\n", 0, start) + block, name)  # the fault has its line in the file
            except SpecError as error:
                found.append((name, None, SpecError(error.problem)))
    return found


def _entries_of(block: str, name: str) -> list[tuple[Any, Any, None]]:
    """Name and content of the entries of a part of a text; raises SpecError."""
    plain = load_yaml(block, name)
    if not isinstance(plain, Mapping):
        raise SpecError(f"{block.strip()!r:.60} is no data set: expected a name, a colon, and its parts")
    return [(name, content, None) for name, content in plain.items()]


def _facts(field: xr.DataArray) -> dict[str, Any]:
    """Unit, region and period of an opened variable, as a catalogue has them; what it hasn't got is left out."""
    grid = grid_of(field)
    region = region_of_box(grid, (grid.x.min(), grid.x.max()), (grid.y.min(), grid.y.max()))
    unit = str(field.attrs.get("units", ""))
    said: dict[str, Any] = {**({"unit": unit} if unit else {}), "region": region.plain()}
    if field.sizes.get("time"):
        order = np.argsort(encode(field["time"]))  # of forecasts, times don't increase
        said["period"] = [*first_and_last(field["time"].isel(time=order[[0, -1]]))]
    return said
