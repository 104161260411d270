"""The domain of a design: footprints of its inputs and its region on a map, and how their periods overlap."""

from __future__ import annotations

import asyncio
import html
from functools import partial

import panel as pn

from app.components.cards import titled_card
from app.plots.domain import COLOURS, REGION, domain_map
from app.services.domain import Footprint, footprints, overlap
from app.services.newest import Newest
from app.theme import PAGE_CSS
from engine.spec import Region, Spec


class DomainCard:
    """Follows the data of a spec; hidden while none of them can be read here."""

    def __init__(self) -> None:
        self._drawing = Newest()
        self._shown = ""
        self.map = pn.pane.Bokeh(sizing_mode="stretch_width", margin=(0, 4))
        self.inputs = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=(4, 4))
        self.view = titled_card("Domain", self.map, self.inputs)
        self.view.visible = False

    def show(self, spec: Spec | None) -> None:
        """Show the inputs of a spec that is complete; nothing happens while they stay the same."""
        plain = repr(spec.data.plain()) if spec else ""
        if plain != self._shown:
            self._shown = plain
            pn.state.execute(partial(self._draw, spec))

    async def _draw(self, spec: Spec | None) -> None:
        is_newest = self._drawing.begin()
        found = await asyncio.to_thread(footprints, spec) if spec else []
        if not spec or not found or found[0].role != "target":
            figure = None
        else:
            figure = await asyncio.to_thread(domain_map, found, spec.data.region)
        if is_newest():
            with pn.io.hold():
                self.view.visible = figure is not None
                if spec and figure is not None:
                    self.map.object = figure
                    self.inputs.object = inputs_html(found, spec.data.region)


def inputs_html(inputs: list[Footprint], region: Region | None) -> str:
    """One row for each input, in the colour of its border, with its cells and its period; then what they share."""
    rows = [(one.role, f"{one.role} {one.name}", _facts(one)) for one in inputs]
    if region is not None:
        (south, north), (west, east) = region.lat, region.lon
        rows.append(("region", "region", f"{south:g} to {north:g} °N, {west:g} to {east:g} °E"))
    if sum(one.period is not None for one in inputs) > 1:
        common = overlap(inputs)
        rows.append(("", "in common", " to ".join(common) if common else "no time: the inputs don't overlap"))
    return f"<table class='facts'>{''.join(_row(*row) for row in rows)}</table>"


def _facts(one: Footprint) -> str:
    cells = "{} × {} cells".format(*one.grid.shape)
    return f"{cells}\n{one.period[0]} to {one.period[1]}, {one.steps:,} steps" if one.period else cells


def _row(role: str, name: str, text: str) -> str:
    colour = {**COLOURS, "region": REGION}.get(role, "transparent")
    mark = f"<i class='mark' style='background:{colour}'></i>"
    return f"<tr><th>{mark}{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
