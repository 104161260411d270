"""Specs as files: start from a ready-made one, open one's own, take the draft along."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from app.components.cards import titled_card
from app.formatting import plain_text
from app.session import Draft, Session, demo_folder
from app.theme import OUTLINED
from engine.assets import ASSETS
from engine.errors import SpecError
from engine.spec import Spec

READY = ASSETS / "specs" / "ready"


class SpecFiles:
    """Puts specs into the session's draft; one that is refused leaves the draft as it is."""

    def __init__(self, session: Session, text: Callable[[], str]):
        self.session = session
        self.start = pmui.MenuButton(label="Start from", icon="note_add", items=[], **OUTLINED)
        self.start.on_click(self.start_from)
        self.upload = pmui.FileInput(label="Open YAML", accept=".yaml,.yml", variant="outlined", size="small", margin=0)
        self.upload.param.watch(self._open, "value")
        self._download = pmui.FileDownload(
            callback=lambda: io.StringIO(text()), filename="experiment.yaml", label="Download YAML", **OUTLINED
        )
        self.about = pmui.Alert(
            object="", severity="info", visible=False, margin=(8, 0, 0, 0), sizing_mode="stretch_width"
        )
        self.refusal = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0))
        buttons = pmui.FlexBox(self.start, self.upload, self._download, gap="8px", align_items="center", margin=0)
        self.view = titled_card("Spec file", buttons, self.about, self.refusal)
        self.refresh()

    def refresh(self) -> None:
        """Offer those of the demonstration set, which are there once it is generated, and the ready-made ones."""
        self._starts = starts()
        self.start.items = [{"label": label, "icon": "description"} for label in self._starts]

    def start_from(self, item: dict[str, str]) -> None:
        path = self._starts[item["label"]]
        is_ready = path is not None and path.parent == READY
        self.about.param.update(object=plain_text(about_of(path)) if path and is_ready else "", visible=is_ready)
        if path is None:
            self.session.param.update(draft=Draft())
        else:
            folder = Path.cwd() if is_ready else path.parent  # the data of a ready one are the user's
            self._take(lambda: Spec.from_yaml(path.read_text(encoding="utf-8"), folder))

    def _open(self, event: Any) -> None:
        if event.new:
            self._take(lambda: Spec.from_yaml(_decode(event.new), Path.cwd()))

    def _take(self, read: Callable[[], Spec]) -> None:
        try:
            spec = read()
        except SpecError as error:
            self.refusal.param.update(object=plain_text(str(error)), visible=True)
        else:
            self.refusal.visible = False
            self.session.use_spec(spec)


def _decode(content: bytes | str) -> str:
    try:
        return content.decode("utf-8") if isinstance(content, bytes) else content
    except UnicodeDecodeError:
        raise SpecError("the file is not text: expected a spec, a YAML file in UTF-8") from None


def starts() -> dict[str, Path | None]:
    """Title → spec to start from: of the demonstration set, or of a common task; None is an empty form."""
    paths = [*sorted(demo_folder().glob("*.yaml")), *sorted(READY.glob("*.yaml"))]
    return {"An empty form": None, **{title_of(path): path for path in paths}}


def about_of(path: Path) -> str:
    """Comment at the head of a spec, below its title: where its data come from, and what to expect."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    text = " ".join(line.lstrip("# ") for line in lines).removeprefix(f"{title_of(path)} ")
    return re.sub(" (Data: |Measured )", r"\n\n\1", text)


def title_of(path: Path) -> str:
    """First line of a spec, if that is a comment, else the file's name."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.lstrip("# ").strip().rstrip(".") if first.startswith("#") else path.stem.replace("_", " ")
