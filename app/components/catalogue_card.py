"""The catalogue: its data sets with a search, alone and in a dialog, and the form that adds the variable shown."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.formatting import plain_text
from app.services.newest import Newest
from app.services.preview import Preview
from app.services.thumbnails import thumbnail
from app.theme import BORDERED, DENSE, OUTLINED
from engine.data.catalogue import Catalogue, Entry, Role, add
from engine.errors import MesoscopeError

MOST_LISTED = 50
EMPTY = "No data set yet. *Add to catalogue* beside a variable that is shown puts it here."
LINE: dict[str, Any] = {"size": "small", "margin": 0}
LIST_SX = {
    "maxHeight": "min(420px, 60vh)",
    "overflowY": "auto",
    "& .MuiListItemText-secondary": {"fontSize": "0.8rem"},
    "& .MuiAvatar-root": {"backgroundSize": "contain", "backgroundRepeat": "no-repeat", "backgroundPosition": "center"},
}


class CatalogueList:
    """Calls `choose` with the data set that is clicked; those of role `first` stand first."""

    def __init__(self, choose: Callable[[Entry], object]):
        self.first: Role | None = None
        self.catalogue = Catalogue()
        self._drawing = Newest()
        self.search = pmui.TextInput(label="Search", size="small", margin=0, sizing_mode="stretch_width")
        self.search.param.watch(lambda _: self._list(), "value_input")
        self.note = pmui.Typography(EMPTY, variant="body2", margin=0)
        self.list = pmui.MenuList(items=[], dense=True, highlight=False, margin=(4, 0, 0, 0), sx=LIST_SX)
        self.list.on_click(lambda item: choose(self.catalogue.named(item["label"])))
        self.damages = pmui.Alert(object="", severity="warning", visible=False, margin=(8, 0, 0, 0), sx=DENSE)
        parts = self.search, self.note, self.list, self.damages
        self.view = pmui.Column(*parts, margin=0, sizing_mode="stretch_width")

    async def refresh(self) -> None:
        """Read the catalogue, which other programs may have changed."""
        self.catalogue = await asyncio.to_thread(Catalogue.read)
        with pn.io.hold():
            self._list()
            messages = "\n\n".join(f"{one.file}: {one.message}" for one in self.catalogue.damages)
            self.damages.param.update(object=plain_text(messages), visible=bool(messages))

    def _list(self) -> None:
        """Data sets that hold all words of the search; their thumbnails follow."""
        entries = sorted(self.catalogue.entries, key=lambda one: self.first not in (None, one.role))
        words = self.search.value_input.lower().split()
        found = [one for one in entries if all(word in f"{one.name} {one.text} {one.role}".lower() for word in words)]
        more = f"{MOST_LISTED} of {len(found)} are listed: search for one." if len(found) > MOST_LISTED else ""
        note = EMPTY if not entries else more if found else "No data set holds these words."
        self.search.visible = bool(entries)
        self.note.param.update(object=note, visible=bool(note))
        self.list.visible = bool(found)
        listed = found[:MOST_LISTED]
        items = [{"label": one.name, "secondary": f"{one.role} · {one.text}"} for one in listed]
        if items != self.list.items:
            self.list.param.update(items=items, sx=LIST_SX)
            pn.state.execute(partial(self._draw, listed))

    async def _draw(self, listed: Sequence[Entry]) -> None:
        is_newest = self._drawing.begin()
        pictures = await asyncio.to_thread(lambda: [thumbnail(one.source) for one in listed])
        if is_newest():
            self.list.sx = LIST_SX | {
                f"& .MuiListItemButton-root:nth-of-type({number}) .MuiAvatar-root": {
                    "backgroundImage": f"url({picture})",
                    "backgroundColor": "transparent",
                    "fontSize": 0,
                }
                for number, picture in enumerate(pictures, start=1)
                if picture
            }


class CatalogueDialog:
    """The catalogue in a dialog, to choose one data set from."""

    def __init__(self) -> None:
        self.list = CatalogueList(self._choose)
        closing = {"close_on_click": True, "show_close_button": True}
        self.view = pmui.Dialog(self.list.view, title="Catalogue", title_variant="h6", open=False, **closing)
        self._chosen: Callable[[Entry], object] = lambda _: None

    def open(self, role: Role, chosen: Callable[[Entry], object]) -> None:
        """Open it with data sets of a role first; `chosen` gets the one that is clicked."""
        self.list.first, self._chosen = role, chosen
        self.view.open = True
        pn.state.execute(self.list.refresh)

    def _choose(self, entry: Entry) -> None:
        self.view.open = False
        self._chosen(entry)


class CatalogueForm:
    """Adds the variable shown to the user's catalogue; calls `added` then."""

    def __init__(self, preview: Callable[[], Preview | None], added: Callable[[], object]):
        self._preview, self._added = preview, added
        self.button = pmui.Button(label="Add to catalogue", icon="bookmark_add", **OUTLINED)
        self.name, self.title, self.licence = (
            pmui.TextInput(label=label, sizing_mode="stretch_width", styles={"flex": f"{wide} 1 140px"}, **LINE)
            for label, wide in (("Name", 1), ("Title", 2), ("Licence", 1))
        )
        self.role = pmui.Select(label="Role", options=[str(role) for role in Role], width=120, **LINE)
        self.save = pmui.Button(label="Add", variant="contained", disable_elevation=True, **LINE)
        cancel = pmui.Button(label="Cancel", variant="text", **LINE)
        self.fault = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0), sx=DENSE)
        self.button.on_click(lambda _: self._open())
        self.save.on_click(self._save)
        cancel.on_click(lambda _: self.close())
        lines = pn.FlexBox(
            self.name, self.title, self.role, self.licence, self.save, cancel,
            gap="8px", align_items="center", margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        self.view = pmui.Paper(
            lines, self.fault, visible=False, elevation=0, margin=(0, 0, 12, 0), sizing_mode="stretch_width",
            sx={"padding": "12px", **BORDERED},
        )  # fmt: skip

    def close(self) -> None:
        self.view.visible = self.fault.visible = False

    def _open(self) -> None:
        """Show the form with what is known of the variable."""
        preview = self._preview()
        if preview is None:
            return
        variable = preview.source.variable or str(preview.field.name)
        self.name.value = re.sub(r"[^A-Za-z0-9_.-]+", "_", variable).lstrip(".-")[:64]
        self.title.value = preview.title.removesuffix(f" ({preview.field.attrs.get('units')})")
        self.role.value = str(Role.STATIC if preview.static else Role.TARGET)
        self.fault.visible, self.view.visible = False, True

    async def _save(self, _: object) -> None:
        preview = self._preview()
        if preview is None:
            return
        self.save.loading = True
        try:
            entry = await asyncio.to_thread(
                Entry.of, self.name.value.strip(), preview.source, role=self.role.value,
                title=self.title.value.strip(), licence=self.licence.value.strip(),
            )  # fmt: skip
            path = await asyncio.to_thread(add, entry)
        except MesoscopeError as error:
            self.fault.param.update(object=plain_text(str(error)), visible=True)
        else:
            self.close()
            self._added()
            if pn.state.notifications is not None:
                pn.state.notifications.success(f"{entry.name} is in {path} now", duration=3000)
        finally:
            self.save.loading = False
