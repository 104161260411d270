"""Figures of runs side by side, for paper: fields of one time step, and RMSE at each cell, each with one range."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.data.grid_coordinates import grid_of, without_suffix
from engine.data.grids import edges
from engine.evaluation.map_lines import coast_line

Target = Path | BinaryIO
COLUMNS = 4
PANEL_INCHES = 3.1
DPI = 150
COLOUR_PERCENTILES = (0.2, 99.8)  # of the values, at the ends of the colour bar


def draw_fields(results: Mapping[str, xr.Dataset], step: int, path: Path) -> None:
    """Draw LR, interpolated and HR of the first run, and the downscaled field of each, at one step of the test part.

    Parameters
    ----------
    results : title → content of results/test.nc, all of the same test part.
    path : PNG file to write.
    """
    first = next(iter(results.values()))
    panels = {"LR": first["lr"], "interpolated": first["interpolated"], "HR": first["hr"]}
    panels |= {title: data["downscaled"] for title, data in results.items()}
    fields = {title: field.isel(time=step) for title, field in panels.items()}
    moment = first.indexes["time"][step].strftime("%Y-%m-%d %H:%M")
    values = np.concatenate([np.ravel(field.values) for field in fields.values()])
    low, high = np.nanpercentile(values, COLOUR_PERCENTILES)
    _draw(fields, (float(low), float(high)), "viridis", f"{label_of(first)}, {moment}", path)


def draw_spectra(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, is_power: bool, file: Target) -> None:
    """Draw power or coherence (ring,) by wavelength in km (ring,) of each product as SVG, long waves left."""
    figure = Figure(figsize=(2 * PANEL_INCHES, PANEL_INCHES), layout="constrained")
    panel = figure.subplots()
    for name, (wavelength, values) in curves.items():
        panel.plot(
            wavelength,
            values,
            label=name,
            linewidth=2 if name == "HR" else 1.2,
            color="black" if name == "HR" else None,
        )
    panel.set(xscale="log", yscale="log" if is_power else "linear", xlabel="wavelength (km)", ylabel=label)
    panel.invert_xaxis()
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    with mpl.rc_context({"svg.hashsalt": "mesoscope", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def draw_scores(fields: Mapping[str, xr.DataArray], label: str, is_centred: bool, file: Target) -> None:
    """Draw maps (y, x) of a score as PNG with one range: from 0 on, or as far below 0 as above.

    The range is that of the poorest map but one, so that one poor product leaves the others their colours.
    """
    values = [np.abs(field.values[np.isfinite(field.values)]) for field in fields.values()]
    highs = sorted(float(np.percentile(each, COLOUR_PERCENTILES[1])) for each in values if each.size)
    high = highs[-2:][0] if highs else 1.0
    clim, cmap = ((-high, high), "RdBu_r") if is_centred else ((0.0, high), "magma")
    _draw(fields, clim, cmap, label, file)


def draw_rmse(results: Mapping[str, xr.Dataset], path: Path) -> None:
    """Draw RMSE over the test part at each cell, of the first run's interpolated field and of each downscaled field."""
    first = next(iter(results.values()))
    fields = {"interpolated": first["rmse_interpolated"]}
    fields |= {title: data["rmse_downscaled"] for title, data in results.items()}
    draw_scores(fields, f"RMSE of {label_of(first)}", False, path)


def highest_contrast_step(results: xr.Dataset) -> int:
    """Find the step where HR varies most from cell to cell: maps of it show what a network can do."""
    std = results["hr"].std([dim for dim in results["hr"].dims if dim != "time"])
    return int(np.nanargmax(std.values))


def label_of(data: xr.Dataset) -> str:
    """Give name and unit of a results file's field."""
    attrs = data["hr"].attrs
    name = str(attrs.get("long_name", "")).removeprefix("HR ") or str(attrs.get("standard_name", "field"))
    return f"{name} ({attrs['units']})" if attrs.get("units") else name


def _draw(fields: Mapping[str, xr.DataArray], clim: tuple[float, float], cmap: str, label: str, file: Target) -> None:
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // columns)
    figure = Figure(figsize=(columns * PANEL_INCHES, rows * PANEL_INCHES), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(fields) :]:
        panel.remove()
    colours = mpl.colormaps[cmap].with_extremes(bad="#d9dde1")
    for panel, (title, field) in zip(panels, fields.items(), strict=False):
        drawn = draw_panel(panel, field, clim, colours)
        panel.set_title(title, fontsize=8)
    figure.colorbar(drawn, ax=list(panels[: len(fields)]), label=label, shrink=0.7, extend="max")
    figure.savefig(file, format="png")


def draw_panel(panel: Any, field: xr.DataArray, clim: tuple[float, float], colours: Any) -> Any:
    """Draw one map with its coast; a degree of longitude is as wide as it is at the middle latitude."""
    grid = grid_of(without_suffix(field))
    drawn = panel.pcolormesh(edges(grid.x), edges(grid.y), field.values, cmap=colours, vmin=clim[0], vmax=clim[1])
    coast = coast_line(grid)
    panel.plot(coast[:, 0], coast[:, 1], color="white", linewidth=0.5)
    across, along = (
        sorted(edges(side)[[0, -1]])[:: int(sign)]
        for side, sign in zip((grid.x, grid.y), grid.orientation, strict=True)
    )
    panel.set(xlim=across, ylim=along, xticks=[], yticks=[])
    panel.set_aspect(1.0 / np.cos(np.deg2rad(float(np.mean(grid.y)))) if grid.is_lonlat else 1.0)
    return drawn
