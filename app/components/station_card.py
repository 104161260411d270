"""Scores at stations: a map of one score, a table of all, and the series of a chosen station."""

from __future__ import annotations

import asyncio
import html
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.components.cards import card, explanation, head, show_newest
from app.components.score_card import TABLE_CSS, badge
from app.plots.colours import ANY_VARIABLE, DIFFERENCES, ERRORS, colour_range
from app.plots.lines import line_figure
from app.plots.live import ColourBar, SharedView
from app.plots.products import name_of
from app.plots.series import cell_series
from app.plots.stations import StationMap
from app.services.comparison import Comparison
from app.services.newest import Newest
from app.services.stations import PAIRS, StationScores, station_scores, verify_at
from app.session import Session
from app.theme import SMALL
from engine.data.stations import ALT, ID, LAT, LON, NAME
from engine.errors import MesoscopeError

HEIGHT = 250
ALL = "all stations"
LABELS = {"bias": "bias", "mae": "MAE", "rmse": "RMSE", "centred_rmse": "RMSE without bias", "pearson": "correlation"}
SENTENCE = "How near LR, interpolated, HR and downscaled fields are to what was measured at stations."
DEFINITION = (
    "At the nearest cell with values, over the times at which the measurement and all products have one. RMSE without "
    "bias is the error without each station's mean error. HR has errors too: a cell is a mean over its "
    "area, a station is a point. A station that a run is given is predicted without it and those around it; beside "
    "that stand the network without any station, kriging of the other stations, and a line over altitude. "
    "python -m engine verify RUN --stations FILE has more options: bilinear weights, and a correction for height; "
    "docs/verification.md has the formulas."
)
SECOND = "Scores at stations are those of the first component alone: choose it above."
EMPTY = "Give a table (CSV) or a NetCDF file of stations that measured the variable."


class StationCard:
    """Holds the chosen score, product and station."""

    def __init__(self, session: Session):
        self.session, self._comparison, self._found = session, Comparison(), StationScores()
        self._view: SharedView | None = None
        self._drawing, self._updating = Newest(), False
        self._map: StationMap | None = None
        select = partial(pmui.Select, visible=False, **SMALL)
        self._score = select(label="Score", options={v: k for k, v in LABELS.items()}, value="rmse", width=170)
        self._product = select(label="Map of", options=[], width=130)
        self._station = select(label="Station", options={ALL: ""}, value="", width=200)
        self._path = pmui.TextInput(label="Station file", placeholder="stations.csv", width=220, **SMALL)
        self._waiting = ""  # file that was given and isn't shown yet
        self._path.param.watch(self._verify_typed, "value")
        top = head("Stations", "of all test steps", self._score, self._product, self._station, self._path)
        top.param.update(gap="6px 12px", margin=(0, 0, 6, 0))
        self._dots = pn.pane.Bokeh(None, margin=0, sizing_mode="stretch_width")
        self._bar = pn.pane.Bokeh(None, margin=0)
        row = pn.Row(self._dots, self._bar, margin=0, sizing_mode="stretch_width")
        self._place = pn.Column(row, margin=0, max_width=560, styles={"flex": "1 1 300px"})
        self._table = pn.pane.HTML(f"<p>{EMPTY}</p>", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        self._series = pn.pane.Bokeh(None, sizing_mode="stretch_width", margin=(8, 0), visible=False)
        beside = pn.Column(self._table, self._series, margin=0, styles={"flex": "1 1 420px", "min-width": "0"})
        body = pn.FlexBox(self._place, beside, gap="12px 24px", margin=0, sizing_mode="stretch_width")
        self.view = card(top, explanation(SENTENCE, DEFINITION), body)
        for one in (self._score, self._product, self._station):
            one.param.watch(lambda _: self._draw(), "value")
        session.param.watch(lambda _: self._draw(), "dark")

    async def take(self, comparison: Comparison, view: SharedView) -> None:
        """Follow other runs, or another projection."""
        if comparison is not self._comparison or view is not self._view:
            self._comparison, self._view = comparison, view
            await show_newest(self._drawing, partial(station_scores, comparison), self._show)
            await self._verify()

    def _verify_typed(self, event: Any) -> None:
        self._waiting = event.new.strip()
        pn.state.execute(self._verify)

    async def _verify(self) -> None:
        """Verify the runs with the file that was given; one that comes before the runs, or amid others, waits."""
        path = self._waiting
        if not path or not self._comparison or self._is_second:
            return
        is_newest = self._drawing.begin()
        self.view.loading, self._path.error_state = True, False
        try:
            found = await asyncio.to_thread(verify_at, self._comparison, path)
            if is_newest():
                self._show(found)
        except (MesoscopeError, OSError) as error:
            if is_newest():
                self._path.error_state = True
                self._table.object = f"<p>{html.escape(str(error))}</p>"
        finally:
            self.view.loading = False
            if is_newest():
                self._waiting = ""

    @property
    def _is_second(self) -> bool:
        return any(result.is_second for result in self._comparison.results)

    def _show(self, found: StationScores) -> None:
        self._found, has_any = found, bool(found.files) and self._view is not None
        with pn.io.hold():
            for one in (self._score, self._product, self._station, self._place):
                one.visible = has_any
            self._path.visible = not self._is_second
            if not has_any or self._view is None:
                empty = SECOND if self._is_second else EMPTY
                self._map, self._series.visible, self._table.object = None, False, f"<p>{empty}</p>{_fault(found)}"
                return
            first, ids = found.first, found.first[ID].values.tolist()
            products, stations = (
                {name_of(key): key for key in found.products},
                dict(zip(_titles(first), ids, strict=True)),
            )
            product = self._product.value if self._product.value in found.products else next(iter(found.files))
            self._updating = True
            self._product.param.update(options=products, value=product)
            kept = self._station.value if self._station.value in ids else ""
            self._station.param.update(options={ALL: "", **stations}, value=kept)
            self._updating = False
            self._map = StationMap(self._view, first[LON].values, first[LAT].values, _titles(first))
            self._map.on_station = lambda number: self._station.param.update(value=ids[number])
            self._dots.object = self._map.figure
            self._draw()

    def _draw(self) -> None:
        """Colour the map, and fill table and series for the chosen station."""
        found, score, station = self._found, self._score.value, self._station.value
        if self._map is None or self._updating:
            return
        first = found.first
        cmap, clim = _colours(score, [found.at(key, score) for key in found.products])
        chosen = first[ID].values.tolist().index(station) if station else None
        with pn.io.hold():
            self._map.show(found.at(self._product.value, score), clim, cmap, chosen)
            bar = ColourBar(clim, cmap, {**first[score].attrs, "long_name": LABELS[score]})
            bar.figure.sizing_mode = "fixed"
            self._bar.object = bar.figure
            self._table.object = _table(found, self._comparison, station) + _fault(found)
            self._series.visible = bool(station)
            if station:
                series, times = found.series(station)
                lines = cell_series(series, times, self._comparison.first.attrs, self.session.dark)
                self._series.object = line_figure(lines, height=HEIGHT)


def _titles(file: xr.Dataset) -> list[str]:
    """Names of stations, with the id where a name isn't the only one."""
    names, ids = (file[word].values.tolist() for word in (NAME, ID))
    return [name if names.count(name) == 1 else f"{name} ({id})" for name, id in zip(names, ids, strict=True)]


def _fault(found: StationScores) -> str:
    runs = ", ".join(found.damaged)
    return f"<p>results/stations.nc of {runs} can't be read: give the station file again.</p>" if runs else ""


def _colours(score: str, values: list[np.ndarray]) -> tuple[str, tuple[float, float]]:
    """Colour map and range of all products: errors from 0, correlation up to 1, bias on both sides of 0."""
    low, high = colour_range([xr.DataArray(each) for each in values], centred=score == "bias")
    if score == "bias":
        return DIFFERENCES, (low, high)
    return (ANY_VARIABLE, (min(low, 0.99), 1.0)) if score == "pearson" else (ERRORS, (0.0, high))


def _table(found: StationScores, comparison: Comparison, station: str) -> str:
    """One row a product; what was done, and what was left out."""
    first, titles = found.first, {result.letter: result.title for result in comparison.results}
    units = comparison.first.units
    heads = "".join(
        f"<th>{html.escape(label if score == 'pearson' or not units else f'{label} ({units})')}</th>"
        for score, label in LABELS.items()
    )
    rows = []
    for key, scores in found.scores(station).items():
        letter, _, more = key.partition(", ")
        label = html.escape(name_of(key))
        if letter in titles:
            label = badge(letter, f"{letter} {more or titles[letter]}")
        cells = "".join(f"<td>{scores[score]:.3f}</td>" for score in LABELS).replace("nan", "–").replace("-", "−")
        rows.append(f'<tr><th class="row_heading">{label}</th>{cells}<td>{scores[PAIRS]:,.0f}</td></tr>')
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of scores at stations"'
    title = ALL
    if station:
        chosen = first.isel(station=first[ID].values.tolist().index(station))
        altitude = float(chosen[ALT])
        title = str(chosen[NAME].values) + ("" if altitude != altitude else f", {altitude:,.0f} m")
    table = f'<table aria-label="Scores at stations"><thead><tr><td>{html.escape(title)}</td>{heads}<th>pairs</th></tr>'
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in first.attrs["notes"].splitlines())
    missing = [result.run.id for result in comparison.results if result.letter not in found.files]
    if missing:
        command = f"python -m engine verify {' '.join(missing)} --stations FILE"
        notes += f"<p>{html.escape(f'For the others, give the file above, or run {command}')}</p>"
    return f"<div {place}>{table}</thead><tbody>{''.join(rows)}</tbody></table></div>{notes}"
