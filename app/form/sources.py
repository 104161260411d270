"""Fields of sources: a file and a variable in it, one or several."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from app.form.field import SMALL, Field, field_heading
from app.form.parts import PartsField
from app.formatting import plain_text
from engine.data.catalogue import Entry
from engine.data.file_summary import describe
from engine.errors import MesoscopeError
from engine.spec import flow_yaml, load_yaml

MOST_OFFERED = 8  # variables of a file


class SourceLine:
    """The parts of one source beside one another; below, the variables of its file while none is chosen."""

    PARTS: ClassVar[dict[str, str]] = {
        "path": "file, glob or Zarr store",
        "variable": "the only one",
        "units": "as in the file",
        "select": "level: 850",
    }
    WIDTHS: ClassVar[dict[str, int]] = {"variable": 120, "units": 105, "select": 120}

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
        self.lines["path"].styles = {"flex": "1 1 180px", "min-width": "0"}
        row = pn.FlexBox(*self.lines.values(), *beside, gap="0 8px", margin=0, sizing_mode="stretch_width")
        self.view = pn.Column(row, self._offered, margin=0, sizing_mode="stretch_width")

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
            return  # the check of the whole spec reports what is wrong with it
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


def _catalogue_button(label: str) -> pmui.Button:
    """Shown where the catalogue has data sets; the form opens it."""
    return pmui.Button(label=label, icon="bookmarks", variant="text", size="small", margin=0, visible=False)


class SourceField(PartsField):
    """A file and a variable in it."""

    def _build(self) -> pn.viewable.Viewable:
        self.catalogue = _catalogue_button("From the catalogue")
        self._source = SourceLine({}, self._report)
        self._lines = self._source.lines
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        parts = field_heading(self), self.catalogue, self._source.view, self._fault
        return pmui.Column(*parts, margin=0, sizing_mode="stretch_width")

    def take(self, entry: Entry) -> None:
        self.show(entry.source)
        self._report()

    def _join(self, texts: dict[str, str]) -> Any:
        return join_source(texts)

    def _part(self, plain: Any) -> dict[str, str]:
        return part_source(plain)


class SourcesField(Field):
    """A list of sources, each with a button that removes it."""

    def _build(self) -> pn.viewable.Viewable:
        self._rows: list[SourceLine] = []
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        self._list = pn.Column(margin=0, sizing_mode="stretch_width")
        add = pmui.Button(label="Add", icon="add", variant="text", size="small", margin=0)
        add.on_click(lambda _: self._add({}))
        self.catalogue = _catalogue_button("Add from the catalogue")
        parts = field_heading(self, margin_top=0), add, self.catalogue
        head = pmui.FlexBox(*parts, align_items="center", margin=(6, 0, 0, 0))
        return pmui.Column(head, self._list, self._fault, margin=0, sizing_mode="stretch_width")

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

    def take(self, entry: Entry) -> None:
        self._add(part_source(entry.source.plain()))
        self._report()

    def _add(self, texts: dict[str, str]) -> None:
        away = pmui.IconButton(icon="close", description="Remove", size="small", margin=(6, 0))
        row = SourceLine(texts, self._report, away)

        def remove(_: Any) -> None:
            self._rows.remove(row)
            self._list.remove(row.view)
            self._report()

        away.on_click(remove)
        self._rows.append(row)
        self._list.append(row.view)


def join_source(texts: dict[str, str]) -> dict[str, object]:
    """The parts of a source as typed; several files stand as a YAML list in brackets."""
    path: Any = texts.get("path", "")
    if path.startswith("["):
        path = load_yaml(path, "the path")
    named: dict[str, object] = {part: texts[part] for part in ("variable", "units") if texts.get(part)}
    if select := texts.get("select", "").strip():
        named["select"] = load_yaml(select if select.startswith("{") else f"{{{select}}}", "select")
    return {"path": path, **named}


def part_source(plain: Mapping[str, Any]) -> dict[str, str]:
    path, select = plain["path"], plain.get("select")
    chosen = {"select": flow_yaml(select).strip("{}")} if select else {}
    return {**plain, "path": path if isinstance(path, str) else flow_yaml(path), **chosen}
