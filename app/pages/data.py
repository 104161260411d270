"""Data: choose a file or make the demonstration set, see what is in it, and give it a part in the design."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.suite_button import SuiteButton
from app.form.fields import card, plain_text
from app.plots.live import ColourBar, LiveMap, SharedView
from app.plots.maps import colour_map
from app.plots.overview import spread
from app.services.newest import Newest
from app.services.preview import Preview, open_preview
from app.session import Session, demo_folder
from app.theme import PAGE_CSS
from engine.data.demo import write_demo
from engine.data.file_summary import FileSummary, describe
from engine.errors import MesoscopeError, SpecError
from engine.spec import Source, Spec

MAP_WIDTH, MAP_HEIGHT = 480, 480
PATTERN = "*"
FIRST_SPEC = "demo_mos"  # with all that a spec can name: LR, predictors, static variables
EMPTY = (
    "<div class='empty'><div>Choose a file at the left, or generate the demonstration set:<br>"
    "a synthetic field of surface NO₂ with predictors and static variables.</div></div>"
)
PARTS = {"target": "Use as target", "lr": "Use as LR", "predictors": "Use as predictor", "static": "Use as static"}


class DataPage:
    """Files at the left; the chosen variable with its map, histogram and facts at the right."""

    def __init__(self, session: Session):
        self.session = session
        self._preview: Preview | None = None
        self._opening, self._drawing = Newest(), Newest()
        self._showing = ("", "")  # path and variable
        self._build_files()
        self._build_shown()
        session.param.watch(self._follow, ["source_path", "source_variable"])
        session.param.watch(lambda _: pn.state.execute(self._redraw), "dark")
        if session.source_path:
            pn.state.execute(self._open)

    def view(self) -> pn.viewable.Viewable:
        return pmui.Row(
            pmui.Column(self._files, self._demonstration, width=350, margin=(12, 0, 12, 16)),
            pmui.Column(self._shown, margin=(12, 16), sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    def refresh(self) -> None:
        """Nothing here depends on the runs."""

    def _build_files(self) -> None:
        roots = folders()
        self._root = pmui.Select(label="Folder", options=roots, size="small", margin=0, sizing_mode="stretch_width")
        self._browser = pmui.FileSelector(
            str(self._root.value),
            root_directory=str(self._root.value),
            file_pattern=PATTERN,
            size=9,
            margin=(8, 0),
            sx={"& .file-selector-selection": {"display": "none"}},
        )
        self._path = pmui.TextInput(
            label="Path",
            placeholder="file, glob or Zarr store",
            size="small",
            margin=(8, 0, 0, 0),
            sizing_mode="stretch_width",
        )
        self._root.param.watch(self._change_root, "value")
        self._browser.param.watch(self._browse, "value")
        self._path.param.watch(self._type_path, "value")
        self._files = card("File", self._root, self._browser, self._path)
        self._make = pmui.Button(label="Generate", icon="auto_awesome", variant="outlined", size="small", margin=0)
        self._make.on_click(self._make_demonstration)
        self._made = pmui.Column(margin=0)
        about = pmui.Typography(
            "Half a year of synthetic surface NO₂ with weather and land, made by a small advection model in some "
            "seconds.",
            variant="body2",
            margin=(0, 0, 8, 0),
        )
        self._demonstration = card("Demonstration set", about, self._make, self._made)
        if specs := sorted(demo_folder().glob("*.yaml")):
            self._offer(specs)

    def _demo_mos(self) -> Spec:
        return Spec.read(demo_folder() / f"{FIRST_SPEC}.yaml")

    def _build_shown(self) -> None:
        self._fault = pmui.Alert(
            object="", severity="error", visible=False, margin=(0, 0, 12, 0), sizing_mode="stretch_width"
        )
        self._variable = pmui.Select(label="Variable", options=[], size="small", width=300, margin=0)
        self._variable.param.watch(self._choose_variable, "value")
        self._uses = {
            part: pmui.Button(label=label, variant="outlined", size="small", margin=0) for part, label in PARTS.items()
        }
        for part, button in self._uses.items():
            button.on_click(lambda _, part=part: self._use(part))
        self._map = pn.pane.Bokeh(None, margin=0)
        self._bar = pn.pane.Bokeh(None, margin=0)
        self._histogram = pn.pane.Bokeh(None, height=190, sizing_mode="stretch_width", margin=(8, 0))
        self._facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self._step = pmui.IntSlider(label="Time step", start=0, end=1, value=0, width=MAP_WIDTH - 110, margin=(4, 10))
        self._step.param.watch(self._draw, "value")
        self._moment = pmui.Typography("", margin=(18, 0, 0, 12), width=150, sx={"fontVariantNumeric": "tabular-nums"})
        self._empty = pn.pane.HTML(EMPTY, stylesheets=[PAGE_CSS], height=560, sizing_mode="stretch_width")
        head = pmui.FlexBox(self._variable, *self._uses.values(), gap="8px", align_items="center", margin=(0, 0, 12, 0))
        picture = pmui.Column(
            pmui.Row(self._map, self._bar, height=MAP_HEIGHT, margin=0), pmui.Row(self._step, self._moment, margin=0),
            width=MAP_WIDTH + 84, margin=0, sx={"flexShrink": 0},
        )  # fmt: skip
        side = pmui.Column(
            self._facts, self._histogram, margin=(0, 0, 0, 16), sizing_mode="stretch_width", min_width=260
        )
        body = pmui.FlexBox(picture, side, gap="12px", align_items="flex-start", flex_wrap="wrap", margin=0)
        self._seen = pmui.Column(head, body, visible=False, margin=0, sizing_mode="stretch_width")
        self._shown = pmui.Paper(
            self._fault,
            self._empty,
            self._seen,
            margin=0,
            elevation=0,
            sx={"padding": "16px", "border": "1px solid", "borderColor": "divider"},
            sizing_mode="stretch_width",
            min_height=620,
        )

    def _change_root(self, event: Any) -> None:
        folder = str(event.new)
        self._browser.param.update(root_directory=folder, directory=folder, value=[])

    def _type_path(self, event: Any) -> None:
        if (path := event.new.strip()) != self.session.source_path:
            self.session.choose_source(path)

    def _browse(self, event: Any) -> None:
        """A click chooses a file or Zarr store, enters a folder, or takes a spec to the Design page."""
        added = [path for path in event.new if path not in event.old]
        if not added:
            return
        chosen = str(added[-1])
        if chosen.endswith((".yaml", ".yml")):
            self._browser.value = []
            self._design(Path(chosen))
        elif Path(chosen).is_dir() and not chosen.rstrip("/").endswith(".zarr"):
            self._browser.param.update(directory=chosen, value=[])
        else:
            self._browser.value = [chosen]
            self.session.choose_source(chosen)

    def _choose_variable(self, event: Any) -> None:
        if event.new:
            self.session.source_variable = event.new

    def _follow(self, *_: Any) -> None:
        pn.state.execute(self._open)

    async def _open(self) -> None:
        """Describe the chosen file, open the chosen variable, and show both; the newest choice wins."""
        is_newest = self._opening.begin()
        path, variable = self.session.source_path, self.session.source_variable
        self._path.value = path
        if not path or (path, variable) == self._showing:
            self._shown.loading = False
            return
        self._shown.loading = True
        try:
            summary = await asyncio.to_thread(describe, path)
            names = [found.name for found in summary.variables]
            variable = variable if variable in names else names[0] if names and not variable else variable
            preview = await asyncio.to_thread(open_preview, Source(path, variable))
            drawn = await asyncio.to_thread(draw, preview, 0, self.session.dark)
        except MesoscopeError as error:
            if is_newest():
                self._refuse(str(error))
        else:
            if is_newest():
                self._show(summary, preview, drawn)
        finally:
            if is_newest():
                self._shown.loading = False

    def _refuse(self, message: str) -> None:
        self._showing = ("", "")
        self._fault.param.update(object=plain_text(message), visible=True)

    def _show(self, summary: FileSummary, preview: Preview, drawn: Drawn) -> None:
        self._preview = preview
        self._showing = (self.session.source_path, preview.source.variable)
        labels = {_variable_label(found): found.name for found in summary.variables}
        with pn.io.hold():
            self._fault.visible = self._empty.visible = False
            self._seen.visible = True
            self._variable.param.update(options=labels, value=preview.source.variable)
            self._facts.object = formatting.table({"File": Path(preview.source.files()[0]).name, **preview.facts})
            self._step.param.update(end=max(preview.steps - 1, 1), value=0, visible=preview.steps > 1)
            for part, button in self._uses.items():
                button.disabled = preview.static != (part == "static")
            self._put(drawn)

    def _put(self, drawn: Drawn) -> None:
        self._drawn = drawn
        with pn.io.hold():
            self._map.object, self._bar.object = drawn.live.figure, drawn.bar.figure
            self._histogram.object = drawn.histogram
            self._moment.object = self._preview.time_text(self._step.value) if self._preview else ""

    async def _redraw(self) -> None:
        """The same variable for the light or the dark page; the zoom begins anew."""
        if self._preview is not None:
            self._put(await asyncio.to_thread(draw, self._preview, self._step.value, self.session.dark))

    async def _draw(self, event: Any) -> None:
        """Another time step in the same map; steps that were overtaken are left out."""
        preview = self._preview
        if preview is None or event.new >= preview.steps:
            return
        is_newest = self._drawing.begin()
        self._moment.object = preview.time_text(event.new)
        field = await asyncio.to_thread(preview.read, event.new)
        if is_newest() and preview is self._preview:
            with pn.io.hold():  # lets a callback without the document's lock change Bokeh's models
                self._drawn.live.show(field)

    def _use(self, part: str) -> None:
        """Give the variable shown a part in the draft, keeping the rest of it."""
        preview, draft = self._preview, self.session.draft
        if preview is None:
            return
        source = preview.source
        if part in ("predictors", "static"):
            chosen = draft.get("data", part)
            draft.set("data", part, [*(other for other in chosen if other != source), source])
        else:
            draft.set("data", part, source)
        if part == "lr":
            draft.set("data", "pairing", "mos")
        self.session.draft_changed()
        self._confirm_use(part, source)

    def _confirm_use(self, part: str, source: Source) -> None:
        name = {"target": "the target", "lr": "LR (pairing mos)", "predictors": "a predictor", "static": "static"}[part]
        if pn.state.notifications is not None:
            pn.state.notifications.success(f"{source.variable} is {name} now", duration=3000)

    async def _make_demonstration(self, _: Any) -> None:
        """Write the demonstration set and offer its two experiments."""
        self._make.loading = True
        try:
            paths = await asyncio.to_thread(write_demo, demo_folder())
        except MesoscopeError as error:
            self._made.objects = [pmui.Alert(object=plain_text(str(error)), severity="error", margin=(8, 0, 0, 0))]
        else:
            self._root.param.update(options=folders(), value=str(demo_folder()))
            self._offer([path for path in paths if path.suffix == ".yaml"])
            self.session.choose_source(str(next(path for path in paths if path.suffix == ".nc")))
        finally:
            self._make.loading = False

    def _offer(self, specs: list[Path]) -> None:
        """One click leads from the demonstration set to an experiment with it."""
        self._make.label = "Generate again"
        buttons = [self._experiment(path) for path in sorted(specs, key=lambda path: path.stem != FIRST_SPEC)]
        buttons[0].variant = "contained"
        suite = SuiteButton(self.session, self._demo_mos)
        self._made.objects = [pmui.FlexBox(*buttons, gap="8px", margin=(10, 0, 0, 0)), suite.view]

    def _experiment(self, path: Path) -> pmui.Button:
        label = {FIRST_SPEC: "Design with it", "demo_perfect_prog": "as perfect-prog"}.get(path.stem, path.stem)
        button = pmui.Button(
            label=label, icon="arrow_forward", size="small", variant="outlined", margin=0, disable_elevation=True
        )
        button.on_click(lambda _: self._design(path))
        return button

    def _design(self, path: Path) -> None:
        try:
            self.session.use_spec(Spec.read(path))
        except SpecError as error:
            self._refuse(str(error))
        else:
            self.session.page = "design"


@dataclass(frozen=True)
class Drawn:
    """The figures of one variable."""

    live: LiveMap
    bar: ColourBar
    histogram: Any


def draw(preview: Preview, step: int, dark: bool) -> Drawn:
    """Map at a time step, colour bar and histogram; takes up to some seconds the first time."""
    view, cmap = SharedView(preview.grid, lambda y, x: None), colour_map(preview.field)
    live = LiveMap(preview.read(step), view, clim=preview.clim, cmap=cmap, name="map", dark=dark)
    width = round(min(MAP_WIDTH, (MAP_HEIGHT - 10) * view.box.aspect))
    height = round(width / view.box.aspect)
    live.figure.update(sizing_mode="fixed", width=width, height=height, aspect_ratio=None)
    bar = ColourBar(preview.clim, cmap, preview.field.attrs)
    bar.figure.update(sizing_mode="fixed", height=height)
    return Drawn(live, bar, spread(preview.counts, preview.edges, preview.title, dark=dark))


def folders() -> dict[str, str]:
    """Label → folder to browse in, the likeliest first: $MESOSCOPE_DATA, demonstration set, home, working folder."""
    named = [Path(folder) for folder in os.environ.get("MESOSCOPE_DATA", "").split(os.pathsep) if folder]
    found = {str(folder): str(folder) for folder in named if folder.is_dir()}
    if demo_folder().is_dir():
        found["Demonstration set"] = str(demo_folder())
    return found | {"Home": str(Path.home()), "Working folder": str(Path.cwd())}


def _variable_label(found: Any) -> str:
    unit = f" ({found.units})" if found.units else ""
    return f"{found.name}: {found.long_name}{unit}" if found.long_name else f"{found.name}{unit}"
