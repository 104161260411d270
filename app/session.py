"""State of one browser tab: page, draft spec, selected runs, time, colour range.

The part that a colleague should see as well stands in the link; the draft doesn't.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import param

from app.services.components import COMPONENTS
from app.services.first_page import first_page
from app.services.newest import Newest
from app.services.verification import RMSE, SCORES, SPECTRA
from engine.errors import SpecError, StoreError
from engine.evaluation.conditions import Condition
from engine.options import Options, did_you_mean
from engine.runs import Store, check_run_id, default_store
from engine.spec import SECTIONS, DataOptions, Source, Spec, dump_yaml, load_yaml

PAGES = ["data", "design", "runs", "compare"]
PROJECTIONS = ["native", "PlateCarree", "Mercator", "Lambert conformal", "stereographic", "orthographic"]
LAYOUTS = ["grid", "swipe", "difference", "vectors"]
ORDERS = ["newest", "oldest", "title", "state", "RMSE", "gain", "validation loss"]
SCHEMES = ["system", "light", "dark"]
MOST_RUNS = 8
MOST_THRESHOLDS = 5
STILL_S = 0.4
MOST_STEPS = 10**9  # more than any test period has; an index of arrays holds it
MOST_KEPT = 65_536  # characters of a draft that a browser keeps
SHOWN = 40  # characters of a word that can't be used


class Listed(StrEnum):
    """Runs that a list is about."""

    ALL = "all"
    QUEUE = "queue"
    ARCHIVED = "archived"


def demo_folder() -> Path:
    """Folder of the demonstration set, beside the store."""
    return default_store().parent / "demonstration"


def blank_sections() -> dict[str, Options]:
    """Section → draft with every option at its default; target and scale are still to be chosen."""
    data = DataOptions(target=Source("to be chosen"), scale=2).draft()
    data.param.update(target=None, scale=None)
    return {section: data if kind is DataOptions else kind().draft() for section, kind in SECTIONS.items()}


@dataclass
class Draft:
    """The spec that a form edits: one draft a section, sealed together."""

    sections: dict[str, Options] = field(default_factory=blank_sections)

    @classmethod
    def of(cls, spec: Spec) -> Self:
        return cls({section: getattr(spec, section).draft() for section in SECTIONS})

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """A draft as `to_yaml` writes it, checked as one that is typed; raises SpecError."""
        if len(text) > MOST_KEPT:
            raise SpecError(f"the draft has {len(text):,} characters", hint=f"expected at most {MOST_KEPT:,}")
        draft = cls()
        for word, options in _mapping(load_yaml(text, "the draft"), "the draft").items():
            if word == "version":
                continue
            if word not in SECTIONS:
                raise SpecError(f"{word} is not a section", hint=did_you_mean(str(word), SECTIONS))
            for option, value in _mapping(options, word).items():
                if option not in (known := SECTIONS[word].declared()):
                    raise SpecError(f"{word}.{option} is not an option", hint=did_you_mean(str(option), known))
                draft.set(word, option, value)
        return draft

    def changed(self) -> dict[str, object]:
        """Options that differ from their defaults, as a user would write them; they may be no whole spec."""
        sections = {section: draft.changed() for section, draft in self.sections.items()}
        return {"version": 1, **{section: options for section, options in sections.items() if options}}

    def to_yaml(self) -> str:
        return dump_yaml(self.changed())

    def seal(self) -> Spec:
        """The checked spec; raises SpecError for what is missing or at odds."""
        return Spec(**{section: draft.seal() for section, draft in self.sections.items()})

    def set(self, section: str, option: str, value: Any) -> None:
        """Put a value in, parsed and checked as in the YAML file; refused, it raises SpecError."""
        self.sections[section].set(option, value)

    def get(self, section: str, option: str) -> Any:
        return getattr(self.sections[section], option)


def _mapping(plain: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(plain, Mapping):
        raise SpecError(f"{where} is {str(plain)[:SHOWN]!r}", hint="expected a mapping of options")
    return plain


class Session(param.Parameterized):
    """State of one browser tab."""

    page = param.Selector(default="data", objects=PAGES)
    store = param.ClassSelector(class_=Store, default=Store(default_store()), instantiate=False)
    source_path = param.String(default="", doc="File or Zarr store shown on the Data page.")
    source_variable = param.String(default="", doc="Variable shown on the Data page.")
    source_select = param.String(default="", doc="Level, member or the like of it, as 'level: 850'.")
    source_units = param.String(default="", doc="Unit of it, where its file has none, or a wrong one.")
    draft = param.ClassSelector(class_=Draft, doc="Spec under design; set or triggered from outside the form.")
    kept = param.String(default="", doc="The draft as text for the browser, which keeps it; '' where it is blank.")
    run = param.String(default="", doc="Id of the run shown on the Runs page.")
    listed = param.Selector(default=Listed.ALL, objects=list(Listed), doc="Runs that the Runs page lists.")
    found = param.String(default="", doc="Words that listed runs hold.")
    order = param.Selector(default="newest", objects=ORDERS, doc="Order of the listed runs.")
    charts = param.Boolean(default=False, doc="Whether the charts of the listed runs are open.")
    runs = param.List(default=[], item_type=str, bounds=(0, MOST_RUNS), doc="Ids of the compared runs.")
    component = param.Selector(
        default=COMPONENTS[0], objects=COMPONENTS, doc="Component that is compared, if the runs have two."
    )
    time = param.Integer(default=0, bounds=(0, MOST_STEPS), doc="Step of the test period.")
    layout = param.Selector(default="grid", objects=LAYOUTS)
    score = param.Selector(default=RMSE, objects=list(SCORES), doc="Score of cells on the error maps.")
    condition = param.ClassSelector(
        default=Condition(), class_=Condition, instantiate=False, doc="Test steps that scores and maps are of."
    )
    spectrum = param.Selector(default=SPECTRA[0], objects=SPECTRA)
    thresholds = param.List(
        default=[], item_type=float, bounds=(0, MOST_THRESHOLDS), doc="Events: values from these on."
    )
    projection = param.Selector(default="native", objects=PROJECTIONS, doc="Projection of the maps on Compare.")
    locked = param.Boolean(default=False, doc="Whether the colour range stays while the time changes.")
    low = param.Number(default=None, allow_None=True, doc="Lower end of the locked colour range.")
    high = param.Number(default=None, allow_None=True, doc="Upper end of the locked colour range.")
    scheme = param.Selector(default="system", objects=SCHEMES, doc="Colour scheme as the user chose it.")
    prefers_dark = param.Boolean(default=False, doc="Whether the user's system is set to dark.")
    dark = param.Boolean(default=False, doc="Whether the pages are dark, as follows from the two.")
    cell = param.NumericTuple(default=None, length=2, allow_None=True, doc="Clicked cell: y, x in coordinates.")

    def __init__(self, **given: Any):
        super().__init__(**{"store": Store(default_store()), "draft": Draft(), **given})

    @param.depends("scheme", "prefers_dark", watch=True)
    def _follow_scheme(self) -> None:
        self.dark = self.prefers_dark if self.scheme == "system" else self.scheme == "dark"

    @param.depends("draft", watch=True)
    def keep_draft(self) -> None:
        """Have the browser keep the draft as it is now: it outlives this server's process."""
        text = self.draft.to_yaml()
        self.kept = "" if text == Draft().to_yaml() or len(text) > MOST_KEPT else text

    def restore_draft(self, text: str) -> None:
        """Make the draft that the browser has kept the draft again; raises SpecError, and leaves it, for other text."""
        self.draft = Draft.from_yaml(text)

    def query(self) -> str:
        """The page and what differs from the defaults, as the query of a link, '?' included."""
        words = {
            word.key or name: word.write(value)
            for name, word in _LINKED.items()
            if (value := getattr(self, name)) != self.param[name].default or name == "page"
        }
        return "?" + urlencode(words, safe=",/:")

    def take_query(self, query: str) -> list[str]:
        """Put a link's query in, at once; returns one message for each part that can't be used."""
        given, refused = dict(parse_qsl(query.lstrip("?"))), []
        if (season := given.get("season", "all")) != "all":  # of links made before there were conditions
            given.setdefault("condition", season)
        with param.parameterized.batch_call_watchers(self):
            for name, how in _LINKED.items():
                key = how.key or name
                try:
                    setattr(self, name, how.read(given[key]) if key in given else self.param[name].default)
                except (LookupError, ValueError, TypeError, StoreError):
                    word = given[key] if len(given[key]) <= SHOWN else f"{given[key][:SHOWN]}…"
                    refused.append(f"The link says {key}={word}, which can't be used: left out.")
        return refused

    def follow(self, location: Any) -> tuple[list[str], Callable[[], None]]:
        """Keep a Panel location in step with this session; one that names no view stands for the first one.

        Returns what the first link can't say, and a function that keeps this session in step with the location too: to
        be called once the browser shows the page, as it repeats the first link until then.
        """
        refused = self.take_query(location.search)
        first = opened = self.query()
        if not names_view(location.search):
            self.page = first_page(self.store)

        def listen() -> None:
            nonlocal first
            first = self.query()
            if first != opened:  # a page has chosen something meanwhile
                location.param.update(search=first)
            location.param.watch(read, "search")

        def read(event: Any) -> None:
            link = event.new if names_view(event.new) else first
            if link != self.query():
                self.take_query(link)

        def write(*_: Any) -> None:
            if names_view(location.search) or self.query() != first:
                location.param.update(search=self.query())

        self.param.watch(write, [name for name in _LINKED if name != "time"])
        stepping = Newest()

        async def write_time(_: Any) -> None:
            """Write the link once the time stands still: each link costs the browser as much as a map."""
            is_newest = stepping.begin()
            await asyncio.sleep(STILL_S)
            if is_newest():
                write()

        self.param.watch(write_time, "time")
        return refused, listen

    def choose_source(self, path: str, variable: str = "", select: str = "", units: str = "") -> None:
        self.param.update(source_path=path, source_variable=variable, source_select=select, source_units=units)

    def use_spec(self, spec: Spec) -> None:
        """Make a spec the draft, for the form to show."""
        self.draft = Draft.of(spec)

    def draft_changed(self) -> None:
        """Notify the form that the draft was changed outside of it."""
        self.param.trigger("draft")


@dataclass(frozen=True)
class _Word:
    """Writes a value in a link, as `key` or by its name, and reads it; `read` raises ValueError or StoreError."""

    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    key: str = ""


def names_view(query: str) -> bool:
    """True if a link has any part of what to show."""
    return not dict(parse_qsl(query.lstrip("?"))).keys().isdisjoint(w.key or name for name, w in _LINKED.items())


def read_number(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(word)
    return number


_FLAG = _Word(lambda word: ("no", "yes").index(word) == 1, lambda value: "yes" if value else "no")
_TEXT = _Word(str)
_NUMBER = _Word(read_number, lambda value: f"{value:.9g}")
_LINKED: dict[str, _Word] = {
    "page": _TEXT,
    "source_path": _TEXT,
    "source_variable": _TEXT,
    "source_select": _TEXT,
    "source_units": _TEXT,
    "run": _Word(lambda word: check_run_id(word) if word else ""),
    "listed": _Word(Listed, str, "list"),
    "found": _Word(str, str, "find"),
    "order": _Word(str, str, "sort"),
    "charts": _FLAG,
    "runs": _Word(lambda word: list(dict.fromkeys(map(check_run_id, word.split(",")))), ",".join),
    "component": _TEXT,
    "time": _Word(int),
    "layout": _TEXT,
    "score": _TEXT,
    "condition": _Word(Condition.parse),
    "spectrum": _TEXT,
    "thresholds": _Word(
        lambda word: list(map(read_number, word.split(","))), lambda v: ",".join(map(_NUMBER.write, v))
    ),
    "projection": _TEXT,
    "locked": _FLAG,
    "low": _NUMBER,
    "high": _NUMBER,
    "scheme": _Word({"yes": "dark", "no": "light"}.__getitem__, {"dark": "yes", "light": "no"}.__getitem__, "dark"),
    "cell": _Word(
        lambda word: tuple(map(read_number, word.split(","))), lambda value: ",".join(map(_NUMBER.write, value))
    ),
}
