"""The browser's own facts and events: the colour scheme that its system prefers, keys, and what it keeps.

When the server is gone, the page shows it, waits until it answers again, and loads anew: with its link, and with the
draft that the browser kept for the tab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import JSComponent

from app.theme import ASSETS


@dataclass(frozen=True)
class Key:
    """A key: its effect in words, and the effect itself."""

    text: str
    press: Callable[[], object]


class Browser(JSComponent):
    """Invisible; `pressed` is called with each of `keys` that is pressed outside of a text field.

    `returned` is called once with the text that the browser has kept, if it has kept one.
    """

    _esm = ASSETS / "browser.js"

    prefers_dark = param.Boolean(default=False, doc="Whether the system's setting is dark.")
    keys = param.List(default=[], item_type=str, doc="Keys as the browser names them.")

    kept = param.String(default="", doc="Text that the browser keeps for this tab.")

    def __init__(self, pressed: Callable[[str], object], returned: Callable[[str], object], **given: Any):
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **given})
        self._pressed, self._returned = pressed, returned

    def _handle_msg(self, message: Any) -> None:
        if "kept" in message:
            self._returned(str(message["kept"]))
        else:
            self._pressed(str(message["key"]))


class Keyboard:
    """Keys of the whole dashboard; '?' lists them, with `others`: keys of controls, key → effect."""

    def __init__(self, keys: Mapping[str, Key], others: Mapping[str, str], returned: Callable[[str], object]):
        self._keys = {**keys, "?": Key("Show or close this list", self.toggle)}
        lines = {**{key: one.text for key, one in self._keys.items()}, **others}
        rows = "".join(f"<tr><td><kbd>{key}</kbd></td><td>{text}</td></tr>" for key, text in lines.items())
        css = "table { border-spacing: 12px 8px; } kbd { padding: 2px 8px; border-radius: 4px; border: 1px solid; }"
        self.dialog = pmui.Dialog(pn.pane.HTML(f"<table>{rows}</table>", stylesheets=[css]), title="Keys", open=False)
        self.browser = Browser(lambda key: self._keys[key].press(), returned, keys=list(self._keys))

    def toggle(self) -> None:
        self.dialog.open = not self.dialog.open
