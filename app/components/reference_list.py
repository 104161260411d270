"""The list from which a reference is chosen: a simple method or a run that others are held against."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import panel as pn
import panel_material_ui as pmui

from app.theme import SMALL


class ReferenceList:
    """`choose` is called when the user chooses, not when `show` offers others; before that, '' is chosen."""

    def __init__(self, choose: Callable[[], Awaitable[None]]):
        self._updating = False
        self.view = pmui.Select(options={}, label="against", width=190, visible=False, **SMALL)
        self.view.param.watch(lambda _: self._updating or pn.state.execute(choose), "value")

    @property
    def chosen(self) -> str:
        return self.view.value or ""

    def show(self, offered: Iterable[str], chosen: str, names: Mapping[str, str]) -> None:
        """Offer products, by their names; none of them hides the list."""
        options = {names[product]: product for product in offered}
        self._updating = True
        self.view.param.update(options=options, value=chosen or None, visible=bool(options))
        self._updating = False
