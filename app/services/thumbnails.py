"""Small pictures of data sets, for lists that one chooses from."""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

from app.plots.colours import colour_map, colour_range, palette
from engine.data.fields import open_either
from engine.data.grid_coordinates import grid_of
from engine.errors import MesoscopeError
from engine.spec import Source, is_url

SIDE = 80  # px at most, twice what is shown
MOST_KEPT = 256
CLEAR = 255  # number of the colour that missing values have


def thumbnail(source: Source) -> str:
    """Draw the first time step as PNG in a data URI, north or the first row up.

    '' for what isn't on this machine, and for what can't be read: the list that it stands in says no more than that.
    """
    try:
        paths = source.files()
        if any(map(is_url, paths)):
            return ""
        return _drawn(source, max(os.stat(path).st_mtime_ns for path in paths))
    except (MesoscopeError, OSError, ValueError):
        return ""


@lru_cache(MOST_KEPT)
def _drawn(source: Source, changed_ns: int) -> str:
    """The picture of a file that was changed then."""
    field = open_either(source)
    first = field.isel(time=0) if "time" in field.dims else field
    step = -(-max(first.sizes["y"], first.sizes["x"]) // SIDE)
    first = first.isel(y=slice(None, None, step), x=slice(None, None, step)).load()
    lat = grid_of(first).to_lonlat(first["x"].values[[0, 0]], first["y"].values[[0, -1]])[1]
    values = first.values[::-1] if lat[0] < lat[-1] else first.values
    low, high = colour_range([first])
    share = np.nan_to_num((values - low) / max(high - low, 1e-30)).clip(0, 1)
    numbers = np.where(np.isfinite(values), np.rint(share * (CLEAR - 1)), CLEAR)
    picture, file = Image.fromarray(numbers.astype(np.uint8), "P"), BytesIO()
    picture.putpalette(bytes.fromhex("".join(colour[1:] for colour in palette(colour_map(field), CLEAR + 1))))
    picture.save(file, "PNG", transparency=CLEAR)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
