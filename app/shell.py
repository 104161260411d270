"""The frame around the pages: header, navigation, theme, and the look at the runs."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.application.application import SessionContext
from panel.io import document as writing
from panel.io.resources import get_dist_path
from panel.links import Callback
from panel.util import edit_readonly

from app.components.browser import Key, Keyboard
from app.components.run_endings import RunEndings
from app.pages.compare import ComparePage
from app.pages.data import DataPage
from app.pages.design import DesignPage
from app.pages.runs import RunsPage
from app.services.watcher import watcher_of
from app.session import PAGES, Session
from app.theme import ASSETS, MENU_SX, PAGE_SX, THEME
from engine.errors import SpecError

LOOK_MS = 1000
REFUSAL_MS = 10_000
CONTROLS = {"Tab": "Next control", "Space, Enter": "Press it", "← →": "Move a slider, as that of the time"}
MINUTE_S = 60
UNSEEN = {"position": "absolute", "overflow": "hidden", "clip-path": "inset(50%)"}  # for screen readers


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

pn.extension("tabulator", notifications=True, throttled=True, respect_explicit_sizing=True)


class Shell:
    """One tab's window: the header above, one page at a time below."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        self._seen: dict[str, tuple[int, int]] = {}
        self._pages: dict[str, Page] = {}
        self._views: dict[str, pn.viewable.Viewable] = {}
        keys = {str(i): Key(name.capitalize(), partial(self._open, name)) for i, name in enumerate(PAGES, 1)}
        self._keyboard = Keyboard({**keys, "d": Key("Dark or light", self._toggle_dark)}, CONTROLS, self._restore)
        self._endings = RunEndings(session)
        self._help = pmui.IconButton(
            icon="keyboard", description="Keys (?)", size="small", margin=(0, 8), align="center"
        )
        self._help.on_click(lambda _: self._keyboard.toggle())
        self._menu = pmui.TabMenu(
            items=[{"label": name.capitalize()} for name in PAGES],
            active=0,
            margin=(0, 0, 0, 8),
            sx=MENU_SX,
        )
        self._heading = pn.pane.HTML("", width=1, height=1, margin=0, styles=UNSEEN)
        self.page = self._build_page()
        with edit_readonly(self.page):
            # Bound to the server's one busy state, it would hold every tab for ever, and each event of any tab would
            # walk through all models of all of them.
            self.page.busy = param.rx(False)
        self._link()
        # Panel starts a task that never ends once a session is busy, and the task's context keeps that session.
        contextvars.Context().run(pn.state._schedule_busy_cleanup)
        pn.state.on_session_destroyed(self._forget)

    def _build_page(self) -> pmui.Page:
        if pn.state.curdoc is not None:
            # Panel has the place of style sheets only once it has written a page. A browser that connects later than
            # the session of its page is kept gets one without, whose style sheets would be on the internet.
            places = {"components": pmui.Page._render_esm(server=True), "dist_url": get_dist_path()}
            pn.state.curdoc.template_variables.update(places)
        return pmui.Page(
            template=ASSETS / "page.html",
            title="Mesoscope",
            logo=ASSETS / "logo.svg",
            favicon=ASSETS / "logo.svg",
            header=[self._menu, self._help],
            main=[self._heading, self._keyboard.browser, self._keyboard.dialog, self._endings.view],
            theme_config=THEME,
            sx=PAGE_SX,
            dark_theme=self.session.dark,
            busy_indicator=None,
            meta_description="Statistical downscaling: design, train, and compare side by side",
        )

    def _link(self) -> None:
        refused: list[str] = []
        listen: Callable[[], None] | None = None
        if pn.state.location is not None:
            refused, listen = self.session.follow(pn.state.location)
        self._menu.param.watch(self._choose, "active")
        self.session.param.watch(lambda _: self._show(), "page")
        self.page.dark_theme = self.session.dark
        self.page.param.watch(lambda event: self._choose_dark(event.new), "dark_theme")
        self.session.param.watch(lambda event: self.page.param.update(dark_theme=event.new), "dark")
        browser = self._keyboard.browser
        browser.param.watch(lambda event: self.session.param.update(prefers_dark=event.new), "prefers_dark")
        self.session.param.watch(lambda event: browser.param.update(kept=event.new), "kept")
        self._menu.active = PAGES.index(self.session.page)
        if isinstance(self._page(self.session.page), ComparePage):
            self._add_view(self.session.page)
        pn.state.onload(lambda: self._begin(refused, listen))

    def _forget(self, context: SessionContext) -> None:
        """Release an ended session: Panel keeps the views of its notifications and the callbacks of its buttons.

        It also keeps what it could not write any more to a browser that left while it was written to.
        """
        for unwritten in (writing._WRITE_MSGS, writing._WRITE_FUTURES, writing._write_tasks):
            unwritten.pop(context._document, None)
        for ref, (_, _, document, _) in list(pn.state._views.items()):
            if document is context._document:
                del pn.state._views[ref]
        for part in self.page.select():
            Callback.registry.pop(part, None)

    def _choose(self, event: Any) -> None:
        if event.new is not None:
            self.session.page = PAGES[event.new]

    def _open(self, page: str) -> None:
        self.session.page = page

    def _choose_dark(self, dark: bool) -> None:
        if dark != self.session.dark:  # else the page follows the session
            self.session.scheme = "dark" if dark else "light"

    def _toggle_dark(self) -> None:
        self._choose_dark(not self.session.dark)

    def _begin(self, refused: list[str], listen: Callable[[], None] | None) -> None:
        """Act once the browser shows the frame: earlier changes are lost on components still to be drawn."""
        if listen is not None:
            listen()
        self._show()
        for text in refused:
            pn.state.notifications.warning(text)
        pn.state.add_periodic_callback(self._look, period=LOOK_MS)

    def _restore(self, draft: str) -> None:
        """Put the draft of this tab back after the server or the page was started anew."""
        try:
            with pn.io.hold():
                self.session.restore_draft(draft)
        except SpecError as error:
            text = f"The form that this browser has kept can't be used: left out. {error}"
            pn.state.onload(lambda: pn.state.notifications.warning(text, duration=REFUSAL_MS))

    def _show(self) -> None:
        name = self.session.page
        with pn.io.hold():
            self._menu.active = PAGES.index(name)
            self._heading.object = f"<h1>Mesoscope: {name.capitalize()}</h1>"
            if name not in self._views:
                self._add_view(name)
            for other, view in self._views.items():
                view.visible = other == name
            self._look()

    def _add_view(self, name: str) -> None:
        self._views[name] = self._page(name).view()
        self.page.main = [*self.page.main, self._views[name]]

    def _page(self, name: str) -> Page:
        """A page, made when it is first wanted."""
        if name not in self._pages:
            self._pages[name] = PAGE_CLASSES[name](self.session)
            self._seen[name] = (self._watcher.version, int(time.monotonic() // MINUTE_S))  # it has just looked
        return self._pages[name]

    def _look(self) -> None:
        """Let the visible page pull what changed in the store since it last looked, and each minute: ages grow.

        Ended runs are announced on every page.
        """
        name = self.session.page
        now = self._watcher.version, int(time.monotonic() // MINUTE_S)
        self._endings.look(self._watcher.snapshots())
        if self._seen.get(name) != now:
            self._seen[name] = now
            with pn.io.hold():
                self._pages[name].refresh()
