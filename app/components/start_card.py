"""Three ways to start where there is nothing to show yet: the example, the user's own files, a shared link."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import panel as pn
import panel_material_ui as pmui

from app.components.demonstration import FIRST_SPEC
from app.formatting import plain_text
from app.services.first_example import is_being_made
from app.services.watcher import watcher_of
from app.session import Session, demo_folder, names_view
from app.theme import BORDERED, SMALL
from engine.data.demo import write_demo
from engine.errors import MesoscopeError
from engine.spec import Spec

EXAMPLE = (
    "Synthetic surface NO₂ with weather and land, made in some seconds, with an experiment that you can start at once."
)
OWN_FILES = "NetCDF, GRIB, Zarr or GeoTIFF with a grid: look at a variable, use it as the target, design, train."
LINK = "A colleague's view of runs in this store, or of a file."
EXPECTED = "expected an address of this dashboard with a '?', as …/app?page=compare&runs=…"
Generate = Callable[[object], Awaitable[None]]


class StartCard:
    """Opens the example as the design, the Data page, or a link; `generate` replaces the first.

    own_files : instruction for the user's own files, where a button would lead to the page that is open already.
    """

    def __init__(self, session: Session, title: str, *, generate: Generate | None = None, own_files: str = ""):
        self.session = session
        self._make = generate or self._design_the_example
        self.example = pmui.Button(
            label="Generate the example", icon="auto_awesome", variant="contained", disable_elevation=True, **SMALL
        )
        self.files = pmui.Button(
            label="Choose own files", icon="folder_open", visible=not own_files, variant="outlined", **SMALL
        )
        self.link = pmui.TextInput(label="Link", size="small", margin=0, sizing_mode="stretch_width")
        self.open = pmui.Button(
            label="Open the link", icon="link", variant="outlined", size="small", margin=(8, 0, 0, 0)
        )
        self.message = pmui.Alert(object="", severity="error", visible=False, margin=(12, 0, 0, 0))
        self.example.on_click(self._generate)
        self.files.on_click(lambda _: session.param.update(page="data"))
        self.open.on_click(lambda _: self._open_link())
        self.link.param.watch(lambda _: self._open_link(), "enter_pressed")
        ways = pn.FlexBox(
            _choice_card("1  The example", EXAMPLE, self.example),
            _choice_card("2  Your own files", own_files or OWN_FILES, self.files),
            _choice_card("3  A shared link", LINK, self.link, self.open),
            gap="12px", margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        self.waiting = pmui.Alert(object="", severity="info", visible=False, margin=(0, 0, 12, 0))
        active = [one.title for one in watcher_of(session.store).snapshots() if one.status.state.is_active]
        if active or is_being_made(session.store):
            doing = (
                f"In training: {', '.join(active)}." if active else "An example is being made, which takes a minute."
            )
            self.waiting.param.update(
                object=plain_text(f"{doing} Compare shows the first one that is done."), visible=True
            )
        self.view = pn.Column(
            pmui.Typography(title, variant="h2", margin=(0, 0, 12, 0)), self.waiting, ways, self.message,
            margin=(24, 0), sizing_mode="stretch_width",
        )  # fmt: skip

    async def _generate(self, event: object) -> None:
        self.example.loading = True
        self.message.visible = False
        try:
            await self._make(event)
        except MesoscopeError as error:
            self._refuse(str(error))
        finally:
            self.example.loading = False

    async def _design_the_example(self, _: object) -> None:
        """Write the demonstration set and open its first experiment, unless another page was opened meanwhile."""
        page = self.session.page
        paths = await asyncio.to_thread(write_demo, demo_folder())
        self.session.use_spec(Spec.read(next(path for path in paths if path.stem == FIRST_SPEC)))
        if self.session.page == page:
            self.session.page = "design"

    def _open_link(self) -> None:
        """Show what a link of this dashboard names, whatever host it was copied from."""
        self.message.visible = False
        query = urlsplit(self.link.value_input.strip()).query
        if not query:
            self._refuse(f"this is no link of a view: {EXPECTED}")
        elif not names_view(query):
            self._refuse(f"the link names no page, file or run: {EXPECTED}")
        elif refused := self.session.take_query(query):
            self._refuse(" ".join(refused))

    def _refuse(self, message: str) -> None:
        self.message.param.update(object=plain_text(message), visible=True)


def _choice_card(title: str, text: str, *controls: pn.viewable.Viewable) -> pmui.Paper:
    return pmui.Paper(
        pmui.Typography(title, variant="h3", margin=(0, 0, 6, 0)),
        pmui.Typography(text, variant="body2", color="text.secondary", margin=(0, 0, 12, 0)), *controls,
        elevation=0, margin=0, sx={"padding": "16px", **BORDERED}, styles={"flex": "1 1 230px", "min-width": "0"},
    )  # fmt: skip
