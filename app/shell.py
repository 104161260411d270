"""The frame around the pages: header, navigation, theme, and the look at the runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import panel as pn
import panel_material_ui as pmui
import param
from panel.util import edit_readonly

from app.pages.compare import ComparePage
from app.pages.data import DataPage
from app.pages.design import DesignPage
from app.pages.runs import RunsPage
from app.services.watcher import watcher_of
from app.session import PAGES, Session
from app.theme import ASSETS, MENU_SX, PAGE_SX, THEME

LOOK_MS = 1000
MINUTE_S = 60


class Page(Protocol):
    """A page: its view, made once, and what it does when the runs have changed."""

    def view(self) -> pn.viewable.Viewable: ...

    def refresh(self) -> None: ...


PAGE_CLASSES: Mapping[str, Callable[[Session], Page]] = {
    "data": DataPage,
    "design": DesignPage,
    "runs": RunsPage,
    "compare": ComparePage,
}

pn.extension("tabulator", notifications=True, throttled=True)


class Shell:
    """One tab's window: the header above, one page at a time below."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        self._seen: dict[str, tuple[int, int]] = {}
        self._pages: dict[str, Page] = {}
        self._views: dict[str, pn.viewable.Viewable] = {}
        self._menu = pmui.TabMenu(
            items=[{"label": name.capitalize()} for name in PAGES],
            active=0,
            width=440,
            margin=(0, 0, 0, 24),
            sx=MENU_SX,
        )
        self.page = self._build_page()
        with edit_readonly(self.page):
            # Bound to the server's one busy state, it would hold every tab for ever, and each event of any tab would
            # walk through all models of all of them.
            self.page.busy = param.rx(False)
        self._link()

    def _build_page(self) -> pmui.Page:
        return pmui.Page(
            template=ASSETS / "page.html",
            title="Mesoscope",
            logo=ASSETS / "logo.svg",
            favicon=ASSETS / "logo.svg",
            header=[self._menu],
            main=[],
            theme_config=THEME,
            sx=PAGE_SX,
            dark_theme=self.session.dark,
            busy_indicator=None,
            meta_description="Statistical downscaling: design, train, and compare side by side",
        )

    def _link(self) -> None:
        refused = []
        if pn.state.location is not None:
            refused = self.session.follow(pn.state.location)
        self._menu.param.watch(
            lambda event: event.new is None or self.session.param.update(page=PAGES[event.new]), "active"
        )
        self.session.param.watch(lambda _: self._show(), "page")
        self.page.dark_theme = self.session.dark
        self.page.param.watch(lambda event: self.session.param.update(dark=event.new), "dark_theme")
        self._menu.active = PAGES.index(self.session.page)
        pn.state.onload(lambda: self._begin(refused))

    def _begin(self, refused: list[str]) -> None:
        """Once the browser shows the frame: what changes earlier is lost on components still to be drawn."""
        self._show()
        for text in refused:
            pn.state.notifications.warning(text)
        pn.state.add_periodic_callback(self._look, period=LOOK_MS)

    def _show(self) -> None:
        name = self.session.page
        with pn.io.hold():
            self._menu.active = PAGES.index(name)
            if name not in self._pages:
                self._pages[name] = PAGE_CLASSES[name](self.session)
                self._seen[name] = (self._watcher.version, int(time.monotonic() // MINUTE_S))  # it has just looked
                self._views[name] = self._pages[name].view()
                self.page.main = [*self.page.main, self._views[name]]
            for other, view in self._views.items():
                view.visible = other == name
            self._look()

    def _look(self) -> None:
        """Let the visible page pull what changed in the store since it last looked, and each minute: ages grow."""
        name = self.session.page
        now = self._watcher.version, int(time.monotonic() // MINUTE_S)
        self._watcher.snapshots()
        if self._seen.get(name) != now:
            self._seen[name] = now
            with pn.io.hold():
                self._pages[name].refresh()
