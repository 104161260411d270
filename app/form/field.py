"""Fields of one option; most are one widget.

A field keeps what the user typed, also when it is refused; `raw` gives it as plain YAML types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from app.formatting import plain_text
from engine.options import Text, Whole, to_plain

Changed = Callable[["Field"], None]
SMALL = {"size": "small", "sizing_mode": "stretch_width", "margin": (6, 0)}
NAMED = {
    "n_filters": "Filters",
    "n_blocks": "Blocks",
    "target_v": "Second component (vectors)",
    "lr": "LR",
    "lr_v": "LR of the second component",
    "localized": "Localized block (LCB)",
    "gpus": "GPUs per process",
    "threads": "Cores per process",
    "upload": "Send the input files",
}
SAME_HEIGHT = {"& .MuiSelect-select": {"paddingTop": "9px", "paddingBottom": "9px"}}


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
        """Value that the user gave, as plain YAML types; not checked."""

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


class OneWidgetField(Field):
    """A field that is one widget with a helper text."""

    def fault(self, message: str) -> None:
        self.view.param.update(error_state=bool(message), helper_text=message or self.hint)


class LineField(OneWidgetField):
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


class ChoiceField(OneWidgetField):
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


class OfferedField(OneWidgetField):
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
            self.view.param.trigger("value")  # the browser identifies it by its label, which may have changed


class FlagField(Field):
    def _build(self) -> pn.viewable.Viewable:
        self._switch = pmui.Switch(label=self.label, description=self.declared.doc, size="small", margin=(6, 0))
        self._switch.param.watch(self._report, "value")
        return self._switch

    def raw(self) -> Any:
        return self._switch.value

    def _put(self, plain: Any) -> None:
        self._switch.value = bool(plain)


def label_of(option: str) -> str:
    """A label as people say it: n_filters → 'N filters' would be odd, so some words have their own."""
    words = option.replace("_", " ")
    return NAMED.get(option, words[:1].upper() + words[1:])


def field_heading(field: Field, margin_top: int = 10) -> pmui.Typography:
    """Label and documentation of a field that is more than one widget."""
    doc = plain_text(field.declared.doc)
    return pmui.Typography(
        f"**{field.label}** · {doc}", variant="caption", color="text.secondary", margin=(margin_top, 8, 0, 0)
    )


def read_number(text: str, whole: bool = False) -> Any:
    """A number if the text is one, None if empty, else the text itself, for the checks to refuse."""
    for kind in (int,) if whole else (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
