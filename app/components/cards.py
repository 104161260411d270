"""Quiet surfaces and headings that the pages share."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui

from app.services.newest import Newest
from app.theme import read_asset

CARD_CSS = read_asset("card.css")
HEADING_CSS = read_asset("heading.css")
COLUMNS_CSS = read_asset("columns.css")
Found = TypeVar("Found")


def card(*objects: Any, padding: int = 12, **layout: Any) -> pn.Column:
    """A surface with a hairline around it."""
    place = {"sizing_mode": "stretch_width", "margin": (0, 0, 12, 0), **layout}
    return pn.Column(*objects, stylesheets=[CARD_CSS], styles={"--card-padding": f"{padding}px"}, **place)


def side_column(*objects: Any, width: int, **styles: str) -> pn.Column:
    """A narrow part of `columns`, so many px wide beside the others."""
    # As `width`, Panel would make it the least width of all that is around it.
    return pn.Column(*objects, margin=0, styles={"flex": f"0 0 {width}px", "width": f"{width}px", **styles})


def columns(*parts: pn.viewable.Viewable, **styles: str) -> pn.Row:
    """Parts of a page beside one another, or, on a narrow screen, one below the other."""
    return pn.Row(*parts, stylesheets=[COLUMNS_CSS], styles=styles, sizing_mode="stretch_width", margin=0)


def heading(text: str, fact: str = "") -> pn.pane.HTML:
    """A card's heading with a quiet fact beside it."""
    words = f"{html.escape(text)}<small>{html.escape(fact)}</small>"
    words = f'<div class="heading" role="heading" aria-level="2">{words}</div>'
    return pn.pane.HTML(words, stylesheets=[HEADING_CSS], sizing_mode="stretch_width", height=24, margin=(0, 0, 4, 0))


def head(title: str, fact: str, *controls: Any) -> pn.FlexBox:
    """A card's heading with controls beside it, or, on a narrow screen, below it."""
    named = heading(title, fact)
    named.param.update(height=None, styles={"flex": "1 1 180px"})
    return pn.FlexBox(named, *controls, sizing_mode="stretch_width", margin=0, align_items="center")


def explanation(sentence: str, definition: str) -> pn.pane.HTML:
    """A quiet sentence about a figure; a click on it opens the definition."""
    words = f"<details><summary>{html.escape(sentence)}</summary>{html.escape(definition)}</details>"
    styles = {"font-size": "12px", "opacity": "0.8", "overflow-wrap": "anywhere"}
    return pn.pane.HTML(words, sizing_mode="stretch_width", margin=(0, 0, 6, 0), styles=styles)


def titled_card(title: str, *objects: Any) -> pmui.Card:
    """A titled surface that doesn't fold."""
    style = {"border": "1px solid", "borderColor": "divider", "& .MuiCardHeader-root": {"paddingBottom": "10px"}}
    return pmui.Card(
        *objects, title=title, title_variant="h2", collapsible=False, elevation=0, margin=(0, 0, 12, 0),
        sizing_mode="stretch_width", sx=style,
    )  # fmt: skip


def change(act: Callable[[], object]) -> None:
    """Change what is shown: soon, or once the browser shows the page, if it has fetched it and what changes is lost."""

    def change_or_wait() -> None:
        context = pn.state.curdoc and pn.state.curdoc.session_context
        session = context and context.session
        if session and session.connection_count:
            pn.state.onload(act)
        else:
            act()

    pn.state.execute(change_or_wait, schedule=True)


async def show_newest(requests: Newest, read: Callable[[], Found], show: Callable[[Found], object]) -> None:
    """Read in a thread, then show what was found, unless a newer request has begun meanwhile."""
    is_newest = requests.begin()
    found = await asyncio.to_thread(read)
    if is_newest():
        pn.state.execute(partial(show, found), schedule=True)
