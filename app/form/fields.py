"""Declaration → widget: the form fields of a spec's options.

A field keeps what the user typed, also when it is refused; `raw` gives it as plain YAML types.
"""

from __future__ import annotations

import asyncio
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui
import param

from engine.data.file_summary import describe
from engine.errors import MesoscopeError, SpecError
from engine.options import Choice, Flag, Real, Text, Value, Values, Whole, to_plain
from engine.spec import Period, Region, Source, Split, flow_yaml, load_yaml

Changed = Callable[["Field"], None]
SMALL = {"size": "small", "sizing_mode": "stretch_width", "margin": (6, 0)}
MOST_OFFERED = 8  # variables of a file
NAMED = {
    "n_filters": "Filters",
    "n_blocks": "Blocks",
    "lr": "LR",
    "localized": "Localized block (LCB)",
    "gpus": "GPUs per process",
    "threads": "Cores per process",
    "upload": "Send the input files",
}
SAME_HEIGHT = {"& .MuiSelect-select": {"paddingTop": "9px", "paddingBottom": "9px"}}


def plain_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text)


def card(title: str, *objects: Any) -> pmui.Card:
    """A titled surface that doesn't fold."""
    style = {"border": "1px solid", "borderColor": "divider", "& .MuiCardHeader-root": {"paddingBottom": "10px"}}
    return pmui.Card(
        *objects,
        title=title,
        collapsible=False,
        elevation=0,
        margin=(0, 0, 12, 0),
        sizing_mode="stretch_width",
        sx=style,
    )


def label_of(option: str) -> str:
    """A label as people say it: n_filters → 'N filters' would be odd, so some words have their own."""
    words = option.replace("_", " ")
    return NAMED.get(option, words[:1].upper() + words[1:])


class Field(ABC):
    """A form field of one option; `hint` stands below it while nothing is wrong."""

    hint = ""

    def __init__(self, section: str, option: str, declared: param.Parameter, changed: Changed):
        self.section, self.option, self.declared = section, option, declared
        self._changed, self._showing = changed, False
        self.view: pn.viewable.Viewable = self._build()

    @property
    def key(self) -> str:
        return f"{self.section}.{self.option}"

    @property
    def label(self) -> str:
        unit, label = getattr(self.declared, "unit", ""), label_of(self.option)
        return f"{label} ({unit})" if unit and not label.lower().startswith(unit.lower()) else label

    @abstractmethod
    def raw(self) -> Any:
        """What the user gave, as plain YAML types; not checked."""

    def show(self, value: Any) -> None:
        """Show a value of the draft without reporting a change."""
        self._showing = True
        try:
            self._put(to_plain(value))
        finally:
            self._showing = False
        self.fault("")

    def fault(self, message: str) -> None:  # noqa: B027 - a switch can't be wrong
        """Mark the field with what is wrong with it; '' takes the mark away."""

    @abstractmethod
    def _build(self) -> pn.viewable.Viewable: ...

    @abstractmethod
    def _put(self, plain: Any) -> None: ...

    def _report(self, *_: Any) -> None:
        if not self._showing:
            self._changed(self)


class _OneWidget(Field):
    """A field that is one widget with a helper text."""

    def fault(self, message: str) -> None:
        self.view.param.update(error_state=bool(message), helper_text=message or self.hint)


class LineField(_OneWidget):
    """A number or a line of text, kept as typed."""

    def _build(self) -> pn.viewable.Viewable:
        line = pmui.TextInput(label=self.label, description=self.declared.doc, **SMALL)
        line.param.watch(self._report, "value")
        return line

    def raw(self) -> Any:
        text = self.view.value.strip()
        if isinstance(self.declared, Text):
            return text
        return read_number(text, whole=isinstance(self.declared, Whole))

    def _put(self, plain: Any) -> None:
        self.view.value = "" if plain is None else f"{plain:g}" if isinstance(plain, float) else str(plain)


class ChoiceField(_OneWidget):
    def _build(self) -> pn.viewable.Viewable:
        choice = pmui.Select(
            label=self.label,
            options=list(self.declared.objects),
            description=self.declared.doc,
            sx=SAME_HEIGHT,
            **SMALL,
        )
        choice.param.watch(self._report, "value")
        return choice

    def raw(self) -> Any:
        return self.view.value

    def _put(self, plain: Any) -> None:
        self.view.value = plain


class OfferedField(_OneWidget):
    """A choice of what there is just now; a value that isn't among it stays, and is said to be none of it."""

    def _build(self) -> pn.viewable.Viewable:
        self._offered: dict[str, str] = {}
        choice = pmui.Select(label=self.label, description=self.declared.doc, sx=SAME_HEIGHT, **SMALL)
        choice.param.watch(self._report, "value")
        return choice

    def offer(self, choices: Mapping[str, str]) -> None:
        """Label → value, in the order shown."""
        self._offered = dict(choices)
        showing, self._showing = self._showing, True
        self._put(self.raw())
        self._showing = showing

    def raw(self) -> Any:
        return self.view.value or ""

    def _put(self, plain: Any) -> None:
        more = {} if plain in self._offered.values() else {f"{plain} (not available)" if plain else "–": plain}
        if self.view.options != (options := {**self._offered, **more}) or self.view.value != plain:
            self.view.param.update(options=options, value=plain)
            self.view.param.trigger("value")  # the browser knows it by its label, which may be another now


class FlagField(Field):
    def _build(self) -> pn.viewable.Viewable:
        self._switch = pmui.Switch(label=self.label, description=self.declared.doc, size="small", margin=(6, 0))
        self._switch.param.watch(self._report, "value")
        return self._switch

    def raw(self) -> Any:
        return self._switch.value

    def _put(self, plain: Any) -> None:
        self._switch.value = bool(plain)


class PartsField(Field):
    """A value with parts: one small line for each; all empty means none."""

    PARTS: ClassVar[dict[str, str]] = {}  # part → placeholder

    def _build(self) -> pn.viewable.Viewable:
        self._lines = {part: pmui.TextInput(label=part, placeholder=hint, **SMALL) for part, hint in self.PARTS.items()}
        for line in self._lines.values():
            line.param.watch(self._report, "value")
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        return pmui.Column(
            _head(self), pmui.Row(*self._lines.values(), sx={"gap": "8px"}, margin=0), self._fault, margin=0
        )

    def raw(self) -> Any:
        texts = {part: line.value.strip() for part, line in self._lines.items()}
        return self._join(texts) if any(texts.values()) else None

    def fault(self, message: str) -> None:
        self._fault.param.update(object=plain_text(message), visible=bool(message))
        for line in self._lines.values():
            line.error_state = bool(message)

    def _put(self, plain: Any) -> None:
        texts = self._part(plain) if plain is not None else {}
        for part, line in self._lines.items():
            line.value = texts.get(part, "")

    @abstractmethod
    def _join(self, texts: dict[str, str]) -> Any: ...

    @abstractmethod
    def _part(self, plain: Any) -> dict[str, str]: ...


class RegionField(PartsField):
    PARTS: ClassVar[dict[str, str]] = {"south": "50", "north": "58", "west": "-10", "east": "2"}

    def _join(self, texts: dict[str, str]) -> Any:
        edges = {part: read_number(text) for part, text in texts.items()}
        return {"lat": [edges["south"], edges["north"]], "lon": [edges["west"], edges["east"]]}

    def _part(self, plain: Any) -> dict[str, str]:
        (south, north), (west, east) = plain["lat"], plain["lon"]
        return {"south": f"{south:g}", "north": f"{north:g}", "west": f"{west:g}", "east": f"{east:g}"}


class PeriodField(PartsField):
    PARTS: ClassVar[dict[str, str]] = {"first": "1981-01-01", "last": "2010-12-31"}

    def _join(self, texts: dict[str, str]) -> Any:
        return [texts["first"], texts["last"]]

    def _part(self, plain: Any) -> dict[str, str]:
        return {"first": plain[0], "last": plain[1]}


class SplitField(PartsField):
    """Fractions, or two dates each as 'first, last'."""

    PARTS: ClassVar[dict[str, str]] = {"train": "0.7", "validation": "0.15", "test": "0.15", "gap": "0"}

    def _join(self, texts: dict[str, str]) -> Any:
        parts: dict[str, Any] = {
            part: _fraction_or_dates(texts[part], part) for part in ("train", "validation", "test")
        }
        gap = read_number(texts["gap"], whole=True)
        return parts if gap is None else {**parts, "gap": gap}

    def _part(self, plain: Any) -> dict[str, str]:
        return {part: ", ".join(v) if isinstance(v, list) else f"{v:g}" for part, v in plain.items()}


class SourceLine:
    """The parts of one source beside one another; below, the variables of its file while none is chosen."""

    PARTS: ClassVar[dict[str, str]] = {
        "path": "file, glob or Zarr store",
        "variable": "the only one",
        "units": "as in the file",
    }
    WIDTHS: ClassVar[dict[str, int]] = {"variable": 120, "units": 105}

    def __init__(self, texts: dict[str, str], changed: Callable[..., None], *beside: Any):
        self.lines = {
            part: pmui.TextInput(label=part, placeholder=hint, value=texts.get(part, ""), **SMALL)
            for part, hint in self.PARTS.items()
        }
        for part, width in self.WIDTHS.items():
            self.lines[part].param.update(sizing_mode=None, width=width)
        for line in self.lines.values():
            line.param.watch(changed, "value")
        for part in ("path", "variable"):
            self.lines[part].param.watch(self._offer, "value")
        self._offered = pmui.FlexBox(gap="4px", align_items="center", margin=(0, 0, 4, 0), visible=False)
        row = pmui.Row(*self.lines.values(), *beside, sx={"gap": "8px"}, margin=0)
        self.view = pmui.Column(row, self._offered, margin=0)

    def texts(self) -> dict[str, str]:
        return {part: line.value.strip() for part, line in self.lines.items()}

    def _offer(self, *_: Any) -> None:
        """Look for variables to choose from, where none is chosen and the path is one file or store."""
        texts = self.texts()
        if texts["path"] and not texts["variable"] and os.path.exists(texts["path"]):
            pn.state.execute(self._look)
        else:
            self._offered.visible = False

    async def _look(self) -> None:
        path = self.texts()["path"]
        try:
            found = await asyncio.to_thread(describe, path)
        except MesoscopeError:
            return  # the check of the whole spec says what is wrong with it
        if path == self.texts()["path"] and not self.texts()["variable"] and len(found.variables) > 1:
            names = [variable.name for variable in found.variables[:MOST_OFFERED]]
            label = pmui.Typography("Variables:", variant="caption", color="text.secondary", margin=0)
            self._offered.objects = [label, *map(self._choice, names)]
            self._offered.visible = True

    def _choice(self, name: str) -> pmui.Button:
        button = pmui.Button(
            label=name, variant="text", size="small", margin=0, sx={"minWidth": 0, "padding": "2px 8px"}
        )
        button.on_click(lambda _: self.lines["variable"].param.update(value=name))
        return button


class SourceField(PartsField):
    """A file and a variable in it."""

    def _build(self) -> pn.viewable.Viewable:
        self._source = SourceLine({}, self._report)
        self._lines = self._source.lines
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        return pmui.Column(_head(self), self._source.view, self._fault, margin=0)

    def _join(self, texts: dict[str, str]) -> Any:
        return join_source(texts)

    def _part(self, plain: Any) -> dict[str, str]:
        return part_source(plain)


class SourcesField(Field):
    """A list of sources, each with a button that takes it off."""

    def _build(self) -> pn.viewable.Viewable:
        self._rows: list[SourceLine] = []
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        self._list = pmui.Column(margin=0)
        add = pmui.Button(label="Add", icon="add", variant="text", size="small", margin=0)
        add.on_click(lambda _: self._add({}))
        head = pmui.FlexBox(_head(self), add, align_items="center", margin=(6, 0, 0, 0))
        return pmui.Column(head, self._list, self._fault, margin=0)

    def raw(self) -> Any:
        texts = [row.texts() for row in self._rows]
        return [join_source(row) for row in texts if any(row.values())]

    def fault(self, message: str) -> None:
        self._fault.param.update(object=plain_text(message), visible=bool(message))

    def _put(self, plain: Any) -> None:
        self._rows.clear()
        self._list.clear()
        for source in plain or []:
            self._add(part_source(source))

    def _add(self, texts: dict[str, str]) -> None:
        away = pmui.IconButton(icon="close", description="Remove", size="small", margin=(6, 0))
        row = SourceLine(texts, self._report, away)
        away.on_click(lambda _: self._remove(row))
        self._rows.append(row)
        self._list.append(row.view)

    def _remove(self, row: SourceLine) -> None:
        self._rows.remove(row)
        self._list.remove(row.view)
        self._report()


FIELDS: dict[type, type[Field]] = {
    Whole: LineField,
    Real: LineField,
    Text: LineField,
    Choice: ChoiceField,
    Flag: FlagField,
    Values: SourcesField,
}
PART_FIELDS: dict[type, type[Field]] = {
    Source: SourceField,
    Region: RegionField,
    Period: PeriodField,
    Split: SplitField,
}


# What there is to choose stands in the targets file, not in the declaration.
OFFERED = ("launch.site", "launch.partition", "launch.account")


def field_of(section: str, option: str, declared: param.Parameter, changed: Changed) -> Field:
    """The field of a declared option; `changed` is called with it when the user changed it."""
    if f"{section}.{option}" in OFFERED:
        return OfferedField(section, option, declared, changed)
    kind = PART_FIELDS[declared.kind] if isinstance(declared, Value) else FIELDS[type(declared)]
    return kind(section, option, declared, changed)


def read_number(text: str, whole: bool = False) -> Any:
    """A number if the text is one, None if empty, else the text itself, for the checks to refuse."""
    for kind in (int,) if whole else (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def join_source(texts: dict[str, str]) -> dict[str, Any]:
    """The parts of a source as typed; several files stand as a YAML list in brackets."""
    path: Any = texts.get("path", "")
    if path.startswith("["):
        path = load_yaml(path, "the path")
    return {"path": path, **{part: texts[part] for part in ("variable", "units") if texts.get(part)}}


def part_source(plain: dict[str, Any]) -> dict[str, str]:
    path = plain["path"]
    return {**plain, "path": path if isinstance(path, str) else flow_yaml(path)}


def _head(field: Field) -> pmui.Typography:
    doc = plain_text(field.declared.doc)
    margin = (0, 8, 0, 0) if isinstance(field, SourcesField) else (10, 8, 0, 0)
    return pmui.Typography(f"**{field.label}** · {doc}", variant="caption", color="text.secondary", margin=margin)


def _fraction_or_dates(text: str, part: str) -> Any:
    if "," in text:
        return [part.strip() for part in text.strip("[]").split(",")]
    number = read_number(text)
    if number is None:
        raise SpecError(f"data.split has no {part}: expected {Split.EXPECTED}")
    return number
