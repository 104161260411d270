"""Maps: a field on its grid with the coast, ready for one range and one colour bar across many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bokeh.models as bm
import holoviews as hv
import numpy as np
import xarray as xr

from engine.data.grids import Grid, edges
from engine.evaluation.coast import coast_line

hv.extension("bokeh")

DIFFERENCES = "cet_CET_D1"  # blue, white, red; Kovesi (2015)
ERRORS = "cet_CET_L18"  # white, yellow, red
ANY_VARIABLE = "viridis"
# Perceptually uniform maps by what a variable's names say, the first that fits; Kovesi (2015), van der Walt (2015).
BY_WORD = {
    "precip": "cet_CET_L17",
    "rain": "cet_CET_L17",
    "humidity": "cet_CET_L17",
    "cloud": "cet_CET_L1",
    "temperature": "cet_CET_L8",
    "wind": "cet_CET_L9",
    "pressure": "cet_CET_L20",
    "no2": "inferno",
    "nitrogen": "inferno",
    "ozone": "inferno",
    "pm2": "inferno",
    "mole_fraction": "inferno",
    "concentration": "inferno",
    "altitude": "cet_CET_L10",
    "topography": "cet_CET_L10",
    "orography": "cet_CET_L10",
    "elevation": "cet_CET_L10",
}
SLIMMEST, WIDEST = 0.62, 2.4  # width by height of a map; a region beyond that gets empty margins
UNEVEN = 0.03  # axes whose cell widths differ by more than this share are drawn on an even axis
CUT_JS = "const margin = 0.05 * (range.end - range.start);" + (
    "if (tick < range.start + margin || tick > range.end - margin) return '';"  # half of it would be outside
)
LATITUDE_JS = CUT_JS + "return tick == 0 ? '0°' : +Math.abs(tick).toFixed(3) + (tick > 0 ? '°N' : '°S')"
LONGITUDE_JS = CUT_JS + (
    "const lon = ((tick + 180) % 360 + 360) % 360 - 180;"
    "return lon == 0 ? '0°' : +Math.abs(lon).toFixed(3) + (lon > 0 ? '°E' : '°W')"
)
KILOMETRES_JS = CUT_JS + "return +(tick * per / 1000).toFixed(3) + ' km'"


@dataclass(frozen=True)
class Box:
    """What a map shows, in the unit of its axes, and its width by height on the screen."""

    west: float
    east: float
    south: float
    north: float
    aspect: float


def field_map(
    field: xr.DataArray,
    *,
    title: str = "",
    clim: tuple[float, float],
    cmap: str,
    colorbar: bool = False,
    frame_width: int = 300,
    dark: bool = False,
) -> hv.Overlay:
    """A field with the coast over it; missing values let a quiet hatch through.

    Parameters
    ----------
    field : (y, x) with 1-D coordinates, any order; attributes `units` and `long_name` name the colour bar.
    clim : lower and upper end of the colours, in the field's unit.
    frame_width : pixels; the height follows from the region, degrees of longitude shortened by cos(latitude).
    """
    grid = Grid.of(field)
    values, bounds = raster(field)
    box = box_of(grid)
    x, y = _dimensions(grid)
    name = hv.Dimension("value", label=label_of(field.attrs))
    image = hv.Image(values[::-1], bounds=bounds, kdims=[x, y], vdims=[name]).opts(
        cmap=cmap, clim=clim, colorbar=colorbar, tools=[hover(grid, field.attrs, clim)], colorbar_opts=_bar_style(field)
    )
    coast = hv.Curve(coast_line(grid), x, y).opts(color="#10151a", alpha=0.85, line_width=0.9)
    frame = {"frame_width": frame_width, "frame_height": round(frame_width / box.aspect)}
    ranges = {"xlim": (box.west, box.east), "ylim": (box.south, box.north)}
    tools: dict[str, Any] = {"toolbar": "above"} if colorbar else {"toolbar": None, "default_tools": []}
    look = {"title": title, "show_grid": False, "hooks": [_quiet_frame(grid, dark)]}
    return (image * coast).opts(**frame, **ranges, **tools, **look)


def colour_map(field_or_attrs: xr.DataArray | Mapping[str, Any]) -> str:
    """A perceptually uniform colour map for what standard_name, long_name or the name say."""
    attrs = getattr(field_or_attrs, "attrs", field_or_attrs)
    words = [attrs.get("standard_name", ""), attrs.get("long_name", ""), getattr(field_or_attrs, "name", "") or ""]
    said = " ".join(map(str, words)).lower()
    return next((cmap for word, cmap in BY_WORD.items() if word in said), ANY_VARIABLE)


def palette(cmap: str, n: int = 256) -> list[str]:
    """The colours of a map's name, from the lower end to the upper."""
    provider = "colorcet" if cmap.startswith("cet_") else "matplotlib"
    return hv.plotting.util.process_cmap(cmap.removeprefix("cet_"), n, provider=provider)


def colour_range(fields: list[xr.DataArray], *, centred: bool = False) -> tuple[float, float]:
    """One range for many fields: all but the outermost 0.2 % of the values at each end.

    `centred`: as far below zero as above, for differences. Without any value: 0 to 1.
    """
    values = np.concatenate([np.asarray(field, dtype=float).ravel() for field in fields]) if fields else np.array([])
    values = values[np.isfinite(values)]
    if not values.size:
        return (-1.0, 1.0) if centred else (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(values, [0.2, 99.8]))
    if centred:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low, low + (abs(low) * 1e-3 or 1.0))


def raster(field: xr.DataArray) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Values (rows from the south, columns from the west) float32, and the edges left, bottom, right, top.

    Axes that are not equally spaced are drawn on an even axis, each pixel with the value of the cell it is in.
    """
    rows, (bottom, top) = _even(field["y"].values.astype(float))
    columns, (left, right) = _even(field["x"].values.astype(float))
    values = np.asarray(field.transpose("y", "x").values, dtype="float32")
    return np.ascontiguousarray(values[np.ix_(rows, columns)]), (left, bottom, right, top)


def box_of(grid: Grid) -> Box:
    """The grid's outer edges, widened where the region is too slim or too wide for a map."""
    (west, east), (south, north) = (_reach(centres) for centres in (grid.x, grid.y))
    shortening = max(float(np.cos(np.deg2rad((south + north) / 2))), 0.2) if grid.is_spherical else 1.0
    width, height = (east - west) * shortening, north - south
    aspect = float(np.clip(width / height, SLIMMEST, WIDEST))
    across, along = max(width, height * aspect) / shortening, max(height, width / aspect)
    x, y = (west + east) / 2, (south + north) / 2
    return Box(x - across / 2, x + across / 2, y - along / 2, y + along / 2, aspect)


def hover(grid: Grid, attrs: Mapping[str, Any], clim: tuple[float, float]) -> bm.HoverTool:
    """Value with unit, and place, of the cell under the pointer."""
    value = f"<b>@image{{{number_format(*clim)}}}</b> {attrs.get('units', '')}"
    place = "$y{0.00}° N, $x{0.00}° E" if grid.is_spherical else "y $y{0,0}, x $x{0,0}"
    return bm.HoverTool(tooltips=f"<div class='place'>{value}<br><small>{place}</small></div>", attachment="above")


def number_format(low: float, high: float) -> str:
    """Numbro's format with three digits more than the range's order of magnitude needs."""
    digits = int(np.clip(2 - np.floor(np.log10(max(abs(high - low), 1e-12))), 0, 8))
    return "0." + "0" * digits if digits else "0"


def label_of(attrs: Mapping[str, Any]) -> str:
    """Name and unit as on an axis: '2 metre temperature (K)'."""
    name = str(attrs.get("long_name") or attrs.get("standard_name") or "value").replace("_", " ")
    units = str(attrs.get("units", ""))
    return f"{name} ({units})" if units and units != "1" else name


def _dimensions(grid: Grid) -> tuple[hv.Dimension, hv.Dimension]:
    x, y = ("longitude", "latitude") if grid.is_spherical else ("x", "y")
    return hv.Dimension(x), hv.Dimension(y)


def _reach(centres: np.ndarray) -> tuple[float, float]:
    borders = edges(centres)
    return float(borders.min()), float(borders.max())


def _even(centres: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Index of the cell under each pixel of an even, rising axis, and the axis' ends."""
    order = np.argsort(centres)
    borders = edges(centres[order])
    ends = float(borders[0]), float(borders[-1])
    steps = np.diff(borders)
    if steps.max() <= steps.min() * (1 + UNEVEN):
        return order, ends
    pixels = min(2048, int(4 * np.ceil((ends[1] - ends[0]) / steps.min())))
    middles = ends[0] + (np.arange(pixels) + 0.5) * (ends[1] - ends[0]) / pixels
    return order[np.searchsorted(borders, middles, side="right") - 1], ends


def _bar_style(field: xr.DataArray) -> dict[str, Any]:
    quiet = {"bar_line_color": None, "major_tick_line_color": None}
    return {"title": label_of(field.attrs), "width": 10, "padding": 6, **quiet}


def _quiet_frame(grid: Grid, dark: bool) -> Any:
    def hook(plot: Any, element: Any) -> None:
        figure = plot.state
        figure.output_backend = "canvas"  # WebGL gains nothing for images, and is slow without a graphics card
        hatch_missing(figure)
        light_halo(figure)
        inside_labels(figure, grid, dark)

    return hook


def light_halo(figure: Any) -> None:
    """A pale line under the coast, so that it is seen on dark colours too."""
    coast = next(renderer for renderer in figure.renderers if isinstance(renderer.glyph, bm.Line))
    style = {"line_color": "#ffffff", "line_alpha": 0.55, "line_width": 2.2}
    halo = figure.line(coast.glyph.x, coast.glyph.y, source=coast.data_source, **style)
    figure.renderers.remove(halo)
    figure.renderers.insert(figure.renderers.index(coast), halo)


def hatch_missing(figure: Any) -> None:
    """A quiet hatch behind the field, seen where there is no value."""
    style = {"hatch_pattern": "right_diagonal_line", "hatch_color": "#8a949e", "hatch_alpha": 0.35}
    size = {"hatch_scale": 7, "hatch_weight": 0.8, "line_color": None, "fill_alpha": 0}
    figure.add_layout(bm.BoxAnnotation(level="underlay", **style, **size))
    figure.outline_line_color = None


def inside_labels(figure: Any, grid: Grid, dark: bool) -> None:
    """Degrees (or kilometres) on the map itself, so that maps in a row share their full width.

    Bokeh draws a text's outline over the text, so each axis stands twice: outlined beneath, plain above.
    """
    for side, halo, place in (("x", figure.xaxis[0], "below"), ("y", figure.yaxis[0], "left")):
        halo.name = "halo"
        letters = bm.LinearAxis()
        figure.add_layout(letters, place)
        for axis in (halo, letters):
            _style_axis(axis, side, grid)
    follow_ranges(figure, figure.x_range, figure.y_range)
    colour_halos(figure, dark)


def follow_ranges(figure: Any, x_range: Any, y_range: Any) -> None:
    """Leave out the labels at the ends of these ranges: the map's edge would cut them."""
    for axes, one in ((figure.xaxis, x_range), (figure.yaxis, y_range)):
        for axis in axes:
            axis.formatter.args = {**axis.formatter.args, "range": one}


def colour_halos(figure: Any, dark: bool) -> None:
    """Light letters need a dark halo, dark letters a light one."""
    for halo in figure.select({"name": "halo"}):
        halo.major_label_text_outline_color = "#171b20" if dark else "#ffffff"


def _style_axis(axis: Any, side: str, grid: Grid) -> None:
    codes = {"x": LONGITUDE_JS, "y": LATITUDE_JS} if grid.is_spherical else {"x": KILOMETRES_JS, "y": KILOMETRES_JS}
    per = {} if grid.is_spherical else {"per": grid.metres_per_unit(side)}
    axis.formatter = bm.CustomJSTickFormatter(code=codes[side], args=per)
    axis.ticker = bm.AdaptiveTicker(desired_num_ticks=3, mantissas=[1, 2, 5], num_minor_ticks=0)
    axis.axis_label, axis.axis_line_color = None, None
    axis.major_tick_in, axis.major_tick_out, axis.minor_tick_out = 4, 0, 0
    axis.major_label_standoff = -18 if side == "x" else -40 if grid.is_spherical else -62
