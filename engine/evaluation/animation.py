"""Animation of LR, interpolated, HR and downscaled fields over the test steps, as GIF, or as MP4 by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import KDTree

from engine.data.times import spread_evenly
from engine.errors import RequestError, RunError
from engine.evaluation.figure import COLOUR_PERCENTILES, COLUMNS, draw_panel, label_of

MOST_FRAMES = 60
MOST_CELLS = 250  # along a side: of larger fields, every second, third … cell is drawn
MOST_PANELS = 11
FRAMES_PER_SECOND = 4
PANEL_INCHES, DPI = 2.6, 100
COLOURS = 200  # of the colour map; the rest of a GIF's 256 are greys, of text and lines
MISSING = 0xD9


def gif_of(results: Mapping[str, xr.Dataset]) -> bytes:
    """Draw an animation as GIF.

    Parameters
    ----------
    results : title → content of results/test.nc of each run, all of the same test part. LR, interpolated and HR are
        those of the first. At most MOST_FRAMES steps are shown, spread evenly, all with one range of colours.

    Raises
    ------
    RequestError
        If test parts differ, are empty, or there are more than MOST_PANELS fields.
    """
    colours = (255 * np.array(_colour_map().colors)[:, :3]).round().astype(np.uint8)
    greys = np.append(np.linspace(0, 255, 255 - COLOURS).round().astype(np.uint8), np.uint8(MISSING))
    table = np.concatenate([colours, np.repeat(greys[:, None], 3, axis=1)])
    images = [_with_palette(frame, table) for frame in _frames(results)]
    file = BytesIO()
    images[0].save(
        file, "GIF", save_all=True, append_images=images[1:], duration=1000 // FRAMES_PER_SECOND, loop=0, optimize=False
    )
    return file.getvalue()


def has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


def write_mp4(results: Mapping[str, xr.Dataset], path: Path) -> None:
    """Draw the same as MP4 (H.264).

    Raises
    ------
    RunError
        If ffmpeg is missing or fails; and what `gif_of` raises.
    """
    if not (ffmpeg := shutil.which("ffmpeg")):
        raise RunError("an MP4 needs ffmpeg, which isn't there", action="install ffmpeg, or take the GIF")
    frames = list(_frames(results))
    height, width = frames[0].shape[:2]
    taken = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    made = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    given = b"".join(frame.tobytes() for frame in frames)
    ended = subprocess.run([ffmpeg, "-y", "-loglevel", "error", *taken, *made], input=given, capture_output=True)
    if ended.returncode:
        raise RunError(f"ffmpeg made no MP4: {ended.stderr.decode(errors='replace').strip()}", action="take the GIF")


def _frames(results: Mapping[str, xr.Dataset]) -> Iterator[np.ndarray]:
    """Frames (row, column, 3) of the chosen steps, of an even number of rows and columns."""
    first = next(iter(results.values()))
    times = first.indexes["time"]
    if any(not times.equals(data.indexes["time"]) for data in results.values()):
        raise RequestError("the runs have other test parts", action="animate runs of one test part")
    if not len(times):
        raise RequestError("the test part has no steps to animate")
    panels = {"LR": first["lr"], "interpolated": first["interpolated"], "HR": first["hr"]}
    panels |= {title: data["downscaled"] for title, data in results.items()}
    if len(panels) > MOST_PANELS:
        raise RequestError(f"an animation has at most {MOST_PANELS - 3} runs", action="leave some out")
    steps = spread_evenly(np.arange(len(times)), MOST_FRAMES)
    fields = {title: _subsample(field.isel(time=steps)).load() for title, field in panels.items()}
    values = np.concatenate([field.values[np.isfinite(field.values)] for field in fields.values()])
    low, high = (float(v) for v in np.percentile(values, COLOUR_PERCENTILES)) if values.size else (0.0, 1.0)
    rows = -(-len(fields) // COLUMNS)
    columns = -(-len(fields) // rows)
    figure = Figure(figsize=(columns * PANEL_INCHES, rows * PANEL_INCHES), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in places[len(fields) :]:
        panel.remove()
    colours = _colour_map().with_extremes(bad=(MISSING / 255,) * 3)
    meshes = []
    for panel, (title, field) in zip(places, fields.items(), strict=False):
        meshes.append(draw_panel(panel, field.isel(time=0), (low, high if high > low else low + 1), colours))
        panel.set_title(title, fontsize=8)
    figure.colorbar(meshes[0], ax=list(places[: len(fields)]), label=label_of(first), shrink=0.7)
    moment = figure.suptitle(" ", fontsize=10, family="monospace")
    for number, step in enumerate(steps):
        moment.set_text(times[step].strftime("%Y-%m-%d %H:%M"))
        for mesh, field in zip(meshes, fields.values(), strict=True):
            mesh.set_array(np.ma.masked_invalid(field.values[number]))
        canvas.draw()
        figure.set_layout_engine("none")  # the places of the first frame are kept
        frame = np.asarray(canvas.buffer_rgba())[..., :3]
        yield frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2].copy()


def _with_palette(frame: np.ndarray, table: np.ndarray) -> Image.Image:
    """Give each pixel (row, column, 3) the nearest of 256 colours (256, 3); Pillow's own search takes others."""
    packed = frame.astype(np.int32) @ np.array([65536, 256, 1])
    found, places = np.unique(packed, return_inverse=True)
    found_colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    nearest = KDTree(table).query(found_colours)[1].astype(np.uint8)
    image = Image.fromarray(nearest[places].reshape(packed.shape), "P")
    image.putpalette(table.ravel().tolist())
    return image


def _subsample(field: xr.DataArray) -> xr.DataArray:
    """Every n-th cell along both sides, so that at most MOST_CELLS are left along each."""
    *_, y, x = field.dims
    stride = -(-max(field.sizes[y], field.sizes[x]) // MOST_CELLS)
    return field.isel({y: slice(stride // 2, None, stride), x: slice(stride // 2, None, stride)})


def _colour_map() -> ListedColormap:
    colours = mpl.colormaps["viridis"].resampled(COLOURS)
    assert isinstance(colours, ListedColormap)
    return colours
