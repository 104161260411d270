"""Quiet surfaces and headings that the pages share."""

from __future__ import annotations

import html
from typing import Any

import panel as pn

CARD_CSS = """
:host {{ padding: {padding}px; border-radius: 6px; background: var(--panel-surface-color); height: auto;
  border: 1px solid rgba(128, 140, 152, 0.28); box-sizing: border-box; }}
"""
HEADING_CSS = """
.heading { display: flex; align-items: baseline; gap: 10px; font-size: 13.5px; font-weight: 600; height: 22px; }
.heading small { font-weight: 400; font-size: 12px; opacity: 0.72; }
"""


def card(*objects: Any, padding: int = 12, **layout: Any) -> pn.Column:
    """A surface with a hairline around it."""
    place = {"sizing_mode": "stretch_width", "margin": (0, 0, 12, 0), **layout}
    return pn.Column(*objects, stylesheets=[CARD_CSS.format(padding=padding)], **place)


def heading(text: str, fact: str = "") -> pn.pane.HTML:
    """A card's heading with a quiet fact beside it."""
    words = f'<div class="heading">{html.escape(text)}<small>{html.escape(fact)}</small></div>'
    return pn.pane.HTML(words, stylesheets=[HEADING_CSS], sizing_mode="stretch_width", height=24, margin=(0, 0, 4, 0))
