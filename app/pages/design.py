"""Design: a form made from the spec's declarations, checked while one types, and handed to a target."""

from __future__ import annotations

import asyncio
import html
import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.launch_card import ORDER as LAUNCH
from app.components.launch_card import LaunchCard
from app.components.submission import Submission
from app.components.suite_button import SuiteButton
from app.form.fields import Field, card, field_of, plain_text
from app.plots.network import network
from app.services.checker import check, command_in
from app.services.watcher import watcher_of
from app.session import Draft, Session, demo_folder
from app.theme import PAGE_CSS
from engine.errors import MesoscopeError, RequestError, SiteError, SpecError
from engine.runs import Store
from engine.spec import SECTIONS, Spec, dump_yaml

PAUSE_S = 0.6  # after the last change, before the engine is asked
TITLES = {"data": "Data", "model": "Model", "training": "Training", "launch": "Launch"}
BASIC = {
    "data": ["target", "pairing", "scale", "lr", "predictors", "static", "region", "period", "split"],
    "model": ["backbone", "upsampling", "n_filters", "n_blocks", "localized", "residual"],
    "training": ["loss", "epochs", "batch_size", "learning_rate"],
    "launch": LAUNCH,
}
WIDE = {"lr", "predictors", "static", "region", "period", "split"}  # and data.target
FIELD_WIDTH = 222
SIDE_WIDTH = 404
STICKY = {"position": "sticky", "top": "0", "align-self": "flex-start"}
OUTLINED = {"variant": "outlined", "size": "small", "margin": 0}
DENSE = {"& p": {"margin": 0}}
NETWORK_HEIGHT = 275
UNDRAWN = "<div class='empty'>Shown once target and scale are set.</div>"
UNSEEN = "<div class='empty'>The data are not on this machine, so the network can't be drawn.</div>"
CHECKED_THERE = "The data are checked on {} when the run is submitted."
WAITING = "Choose a target and a scale: grids, samples, parameters and memory are shown here."


class DesignPage:
    """The form at the left; what it comes to, the YAML and the submission at the right."""

    def __init__(self, session: Session):
        self.session = session
        self.fields: dict[str, Field] = {}
        self._refused: dict[str, SpecError] = {}  # option → why its value isn't in the draft
        self._asking: asyncio.Task[dict[str, Any]] | None = None
        self._spec: Spec | None = None
        self._build_summary()
        self._build_files()
        sections = {name: self._section(name) for name in SECTIONS}
        self._form = pmui.Column(
            sections["data"],
            sections["model"],
            self._network_card,
            *(card for name, card in sections.items() if name not in ("data", "model")),
            margin=0,
            sizing_mode="stretch_width",
        )
        self._show_draft()
        session.param.watch(lambda _: self._show_draft(), "draft")
        session.param.watch(lambda _: self._shown_again(), "page")

    def view(self) -> pn.viewable.Viewable:
        side = pmui.Column(
            self._files,
            self._summary,
            self._yaml_card,
            width=SIDE_WIDTH,
            margin=(12, 16, 12, 0),
            styles=STICKY,
        )
        return pmui.Row(
            pmui.Column(self._form, margin=(12, 16), sizing_mode="stretch_width"), side, sizing_mode="stretch_width"
        )

    def refresh(self) -> None:
        """Nothing here depends on the runs."""

    def _section(self, section: str) -> pn.viewable.Viewable:
        declared = SECTIONS[section].declared()
        for option, declaration in declared.items():
            self.fields[f"{section}.{option}"] = field_of(section, option, declaration, self._changed)
        if section == "launch":
            self._launch = LaunchCard(
                {option: self.fields[f"launch.{option}"] for option in declared},
                self._arranged(section, LAUNCH),
            )
            return self._launch.view
        rest = [option for option in declared if option not in BASIC[section]]
        shown: list[Any] = [self._arranged(section, [option for option in BASIC[section] if option in declared])]
        if rest:
            shown += self._folded(section, rest)
        return card(TITLES[section], *shown)

    def _folded(self, section: str, options: list[str]) -> list[Any]:
        """The rest of the options under a button."""
        hidden = self._arranged(section, options)
        hidden.visible = False
        button = pmui.Button(
            label="More options", icon="expand_more", variant="text", size="small", margin=(6, 0, 0, -4)
        )

        def toggle(_: Any) -> None:
            hidden.visible = not hidden.visible
            shown = ("Fewer options", "expand_less") if hidden.visible else ("More options", "expand_more")
            button.param.update(label=shown[0], icon=shown[1])

        button.on_click(toggle)
        return [button, hidden]

    def _arranged(self, section: str, options: list[str]) -> pn.viewable.Viewable:
        """In the order given: wide fields in a line of their own, narrow ones beside one another."""
        lines: list[Any] = []
        for wide, run in itertools.groupby(
            options, lambda option: option in WIDE or (section, option) == ("data", "target")
        ):
            views = [self.fields[f"{section}.{option}"].view for option in run]
            lines += views if wide else [self._beside(views)]
        return pmui.Column(*lines, margin=0, sizing_mode="stretch_width")

    def _beside(self, views: list[Any]) -> pn.viewable.Viewable:
        for view in views:
            view.param.update(sizing_mode=None, width=FIELD_WIDTH)
        return pmui.FlexBox(
            *views, gap="4px 16px", align_items="flex-start", margin=(4, 0), sizing_mode="stretch_width"
        )

    def _build_summary(self) -> None:
        self._status = pmui.Alert(object=WAITING, severity="info", margin=0, sizing_mode="stretch_width", sx=DENSE)
        self._facts = pn.pane.HTML(
            "", stylesheets=[PAGE_CSS], min_height=220, sizing_mode="stretch_width", margin=(8, 4)
        )
        self._busy = pmui.LinearProgress(variant="indeterminate", visible=False, sizing_mode="stretch_width", margin=0)
        self._submission = Submission(self.session, lambda: self._spec)
        self._suite = SuiteButton(self.session, lambda: self._spec)
        self._summary = card(
            "Summary",
            self._status,
            self._busy,
            self._submission.view,
            self._suite.view,
            self._facts,
        )
        self._network = pn.pane.HTML(
            UNDRAWN, stylesheets=[PAGE_CSS], min_height=NETWORK_HEIGHT, sizing_mode="stretch_width", margin=(4, 4)
        )
        self._network_card = card("Network", self._network)
        self._yaml = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=(4, 4))
        self._yaml_card = card("Spec (what differs from the defaults)", self._yaml)

    def _build_files(self) -> None:
        self._start = pmui.MenuButton(
            label="Start from", icon="note_add", items=[], sizing_mode="stretch_width", **OUTLINED
        )
        self._start.on_click(self._start_from)
        self._offer_starts()
        self._upload = pmui.FileInput(
            label="Open YAML", accept=".yaml,.yml", variant="outlined", size="small", margin=0
        )
        self._upload.param.watch(self._take_upload, "value")
        self._download = pmui.FileDownload(
            callback=self._yaml_file, filename="experiment.yaml", label="Download YAML", **OUTLINED
        )
        self._refusal = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0))
        buttons = pmui.Row(self._upload, self._download, sx={"gap": "8px"}, margin=(8, 0, 0, 0))
        self._files = card("Spec file", self._start, buttons, self._refusal)

    def _show_draft(self) -> None:
        """Put the session's draft into the form."""
        self._refused.clear()
        with pn.io.hold():
            for field in self.fields.values():
                field.show(self.session.draft.get(field.section, field.option))
            self._validate()

    def _changed(self, field: Field) -> None:
        try:
            self.session.draft.set(field.section, field.option, field.raw())
            self._refused.pop(field.key, None)
        except SpecError as error:
            self._refused[field.key] = error
        with pn.io.hold():
            self._validate()

    def _validate(self) -> None:
        """Hold the draft against the declarations, mark what is wrong, and ask the engine about the rest."""
        self._spec = None
        fault: MesoscopeError | None = next(iter(self._refused.values()), None)
        if fault is None:
            try:
                self._spec = self._accepted()
            except (SpecError, SiteError) as error:
                fault = error
        blank = self.session.draft.get("data", "target") is None and not self._refused
        self._launch.show(self.session.draft.sections["launch"])
        marks = {**({fault.option: fault} if fault and not blank else {}), **self._refused}
        for key, field in self.fields.items():
            # The field stands beside its message: 'data.scale is missing: give …' → 'is missing: give …'.
            field.fault(str(marks[key]).removeprefix(f"{key} ") if key in marks else "")
        lr = self.fields["data.lr"]
        lr.view.visible = self.session.draft.get("data", "pairing") == "mos" or lr.raw() is not None
        self._yaml.object = f"<pre class='text clip'>{html.escape(dump_yaml(self._plain()))}</pre>"
        self._submission.offer(self.session.draft.get("launch", "site"), ready=self._spec is not None)
        self._suite.view.visible = self._spec is not None and self._spec.data.lr is not None
        if self._spec is None:
            self._say("info", WAITING) if blank else self._say("error", str(fault))
        pn.state.execute(self._ask)

    def _accepted(self) -> Spec:
        """The draft as a spec that its target takes; raises SpecError or SiteError."""
        spec = self.session.draft.seal()
        self._launch.refuse(spec)
        return spec

    def _plain(self) -> dict[str, Any]:
        changed = {section: draft.changed() for section, draft in self.session.draft.sections.items()}
        return {"version": 1, **{section: options for section, options in changed.items() if options}}

    async def _ask(self) -> None:
        """Ask the engine what the spec comes to; a newer spec ends the asking."""
        if self._asking is not None:
            self._asking.cancel()
        spec = self._spec
        self._busy.visible = False
        if spec is None:
            return
        self._asking = asyncio.ensure_future(_after_pause(spec, self.session.store, self._launch.elsewhere(spec)))
        self._busy.visible = True
        self._say("info", "Checking grids, times and network …")
        try:
            answer = await self._asking
        except asyncio.CancelledError:
            return
        except MesoscopeError as error:
            self._refuse(spec, error)
        else:
            self._take_answer(spec, answer)

    def _refuse(self, spec: Spec, error: MesoscopeError) -> None:
        """What the engine found on this machine; a target that has data of its own looks at those."""
        if self._launch.elsewhere(spec):
            self._finish("warning", f"On this machine: {error}\n\n{CHECKED_THERE.format(spec.launch.site)}", "")
            return
        self._submission.button.disabled = isinstance(error, RequestError)
        self._finish("error", str(error), "")

    def _take_answer(self, spec: Spec, answer: dict[str, Any]) -> None:
        if "absent" in answer:
            self._network.object = UNSEEN
            self._finish("info", f"{CHECKED_THERE.format(spec.launch.site)} {absence(answer['absent'])}", "")
            return
        self._network.object = network(answer["network"]) if "network" in answer else UNDRAWN
        where = "" if spec.launch.site == "local" else f" on {spec.launch.site}"
        self._finish("success", f"Ready to train{where}.", formatting.table(facts_of(answer)) + _notes(answer))

    def _finish(self, severity: str, text: str, facts: str) -> None:
        with pn.io.hold():
            self._busy.visible = False
            self._facts.object = facts
            self._say(severity, text)

    def _say(self, severity: str, text: str) -> None:
        self._status.param.update(severity=severity, object=plain_text(text))

    def _shown_again(self) -> None:
        """Meanwhile the demonstration set may have been made, or the targets file changed."""
        if self.session.page == "design":
            self._offer_starts()
            if self._launch.read():
                watcher_of(self.session.store)  # looks at new targets too
                self._validate()

    def _offer_starts(self) -> None:
        """The demonstration set's experiments are there once it is made."""
        self._starts = starts()
        self._start.items = [{"label": label, "icon": "description"} for label in self._starts]

    def _start_from(self, item: dict[str, Any]) -> None:
        path = self._starts[item["label"]]
        self._take(lambda: Spec.read(path)) if path else self.session.param.update(draft=Draft())

    def _take_upload(self, event: Any) -> None:
        if event.new:
            self._take(lambda: Spec.from_yaml(_text(event.new), Path.cwd()))

    def _take(self, read: Callable[[], Spec]) -> None:
        """Show another spec; refused, the form stays as it is."""
        try:
            spec = read()
        except SpecError as error:
            self._refusal.param.update(object=plain_text(str(error)), visible=True)
        else:
            self._refusal.visible = False
            self.session.use_spec(spec)

    def _yaml_file(self) -> io.StringIO:
        return io.StringIO(self._spec.to_yaml() if self._spec else dump_yaml(self._plain()))


def facts_of(answer: dict[str, Any]) -> dict[str, str]:
    """The engine's answer as rows of a table; what it doesn't say is left out."""
    rows = {f"{name.upper()} grid": grid["text"] for name, grid in answer.get("grids", {}).items()}
    for part, samples in answer.get("samples", {}).items():
        first, last = answer.get("periods", {}).get(part, ("", ""))
        period = f"\n{_minute(first)} to {_minute(last)}" if first else ""
        rows[f"{part.capitalize()} samples"] = formatting.count(samples) + period
    if "parameters" in answer:
        rows["Parameters"] = formatting.count(answer["parameters"])
    if answer.get("discriminator"):
        rows["Discriminator parameters"] = formatting.count(answer["discriminator"])
    if "memory_bytes" in answer:
        rows["Memory per process"] = formatting.size(answer["memory_bytes"])
    return rows


async def _after_pause(spec: Spec, store: Store, elsewhere: bool) -> dict[str, Any]:
    """The engine's answer; of data that are read elsewhere and aren't here, only which those are."""
    await asyncio.sleep(PAUSE_S)
    if elsewhere and (absent := await asyncio.to_thread(_absent, spec)):
        return {"absent": absent}
    return await check(spec, command_in(store.folder))


def _absent(spec: Spec) -> list[str]:
    return [name for name in spec.data.files() if not os.path.exists(name)]


def absence(names: list[str]) -> str:
    """'/scratch/t2m.nc and 2 more are not on this machine, so …'"""
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return f"{names[0]}{more} not on this machine, so grids, samples and memory are not known here."


def _notes(answer: dict[str, Any]) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in answer.get("notes", []))
    return f"<ul class='notes'>{notes}</ul>" if notes else ""


def _minute(stamp: str) -> str:
    return stamp.replace("T", " ")[:16]


def _text(content: bytes | str) -> str:
    try:
        return content.decode("utf-8") if isinstance(content, bytes) else content
    except UnicodeDecodeError:
        raise SpecError("the file is not text: expected a spec, a YAML file in UTF-8") from None


def starts() -> dict[str, Path | None]:
    """Title → spec to start from: those of the demonstration set; None is an empty form."""
    return {"An empty form": None, **{title_of(path): path for path in sorted(demo_folder().glob("*.yaml"))}}


def title_of(path: Path) -> str:
    """What a spec's first line says of it, if that is a comment, else the file's name."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.lstrip("# ").strip().rstrip(".") if first.startswith("#") else path.stem.replace("_", " ")
