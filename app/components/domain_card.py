"""The domain of a design: footprints of its inputs and its region on a map, and how their periods overlap."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Sequence
from functools import partial

import panel as pn
import panel_material_ui as pmui

from app.components.cards import titled_card
from app.formatting import plain_text
from app.plots.domain import COLOURS, REGION, domain_map
from app.services.domain import Footprint, Input, footprints, mismatches, overlap
from app.services.newest import Newest
from app.theme import DENSE, PAGE_CSS
from engine.options import Options
from engine.spec import Region


class DomainCard:
    """Follows the data of a draft, complete or not; hidden while there is no target."""

    def __init__(self) -> None:
        self._drawing = Newest()
        self._shown = ""
        self.map = pn.pane.Bokeh(sizing_mode="stretch_width", margin=(0, 4))
        self.inputs = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=(4, 4))
        self.warnings = pmui.Alert(
            object="", severity="warning", visible=False, margin=(4, 0, 0, 0), sx=DENSE, sizing_mode="stretch_width"
        )
        self.view = titled_card("Inputs", self.map, self.warnings, self.inputs)
        self.view.visible = False

    def show(self, data: Options) -> None:
        """Show the inputs in a draft of section data; nothing happens while they stay the same."""
        given = [("target", data.target), ("second component", data.target_v), ("LR", data.lr)]
        given += [("predictor", one) for one in data.predictors] + [("static", one) for one in data.static]
        inputs = [(role, source) for role, source in given if source] if data.target else []
        if (shown := repr((inputs, data.region))) != self._shown:
            self._shown = shown
            pn.state.execute(partial(self._draw, inputs, data.region))

    async def _draw(self, inputs: list[Input], region: Region | None) -> None:
        is_newest = self._drawing.begin()
        found, faults = await asyncio.to_thread(footprints, inputs)
        figure = None
        if found and found[0].role == "target":
            faults += await asyncio.to_thread(mismatches, found, region)
            figure = await asyncio.to_thread(domain_map, found, region)
        if is_newest():
            with pn.io.hold():
                self.view.visible, self.map.visible = bool(inputs), figure is not None
                self.map.object = figure
                self.inputs.object = inputs_html(found, region)
                self.warnings.param.update(object=plain_text("\n\n".join(faults)), visible=bool(faults))


def inputs_html(inputs: Sequence[Footprint], region: Region | None) -> str:
    """One row for each input, in the colour of its border, with cells, unit and period; then what they share."""
    periods = [one.period for one in inputs if one.period]
    axis = (min(first for first, _ in periods), max(last for _, last in periods)) if len(periods) > 1 else None
    rows = [_row(one.role, f"{one.role} {one.name}", _facts(one), _bar(one.period, axis)) for one in inputs]
    if region is not None:
        (south, north), (west, east) = region.lat, region.lon
        rows.append(_row("region", "region", f"{south:g} to {north:g} °N, {west:g} to {east:g} °E"))
    if axis:
        common = overlap(inputs)
        text = " to ".join(common) if common else "no time: the inputs don't overlap"
        rows.append(_row("", "in common", text, _bar(common, axis)))
    return f"<table class='facts'>{''.join(rows)}</table>"


def _facts(one: Footprint) -> str:
    missing = "" if one.missing is None else f", {100 * one.missing:.2g} % missing" if one.missing else ", no gaps"
    cells = f"{one.grid.shape[0]} × {one.grid.shape[1]} cells, {one.unit or 'no unit'}{missing}"
    return f"{cells}\n{one.period[0]} to {one.period[1]}, {one.steps:,} steps" if one.period else cells


def _bar(period: tuple[str, str] | None, axis: tuple[str, str] | None) -> str:
    """The part of the time axis of all inputs that a period takes, as a bar."""
    if period is None or axis is None:
        return ""
    begin, end = map(_years, axis)
    left, right = ((_years(moment) - begin) / max(end - begin, 1e-6) for moment in period)
    return f"<div class='span'><i style='left:{left:.1%};width:max({right - left:.1%}, 3px)'></i></div>"


def _years(moment: str) -> float:
    """A moment in years of any calendar, near enough for a bar."""
    year, month, day = moment[:10].rsplit("-", 2)
    return int(year) + (int(month) - 1 + (int(day) - 1 + float(moment[11:13]) / 24) / 31) / 12


def _row(role: str, name: str, text: str, bar: str = "") -> str:
    colour = {**COLOURS, "region": REGION}.get(role, "transparent")
    mark = f"<i class='mark' style='background:{colour}'></i>"
    bar = bar.replace("<i style='", f"<i style='background:{COLOURS.get(role, 'currentColor')};")
    return f"<tr><th>{mark}{html.escape(name)}</th><td>{html.escape(text)}{bar}</td></tr>"
