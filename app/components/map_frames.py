"""Which maps a layout of the Compare page shows, and the fact above each of them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from app.formatting import value_text
from app.plots.products import colour_of, name_of
from app.services.comparison import Comparison
from app.services.field_changes import BOTH, Change


@dataclass(frozen=True)
class Frame:
    """One map: what it shows, what stands above it.

    faint : (y, x) cells whose values are drawn in faint colours, if there are any.
    vectors : (y, x) complex, of which the field is the size, if arrows are drawn.
    """

    key: str
    name: str
    field: xr.DataArray
    fact: str = ""
    faint: np.ndarray | None = None
    vectors: xr.DataArray | None = None

    @property
    def title(self) -> str:
        """HTML above the map."""
        badge = f'<i style="background:{colour_of(self.key)}">{self.key}</i>' if len(self.key) == 1 else ""
        return f'<div class="map">{badge}<b>{html.escape(self.name)}</b><span>{html.escape(self.fact)}</span></div>'


def field_frames(comparison: Comparison, fields: Mapping[str, xr.DataArray]) -> list[Frame]:
    """LR, interpolated, HR and each run, with the RMSE of the step where it is defined."""
    titles = {result.letter: result.title for result in comparison.shown}
    hr, units = fields["hr"], comparison.first.units
    frames = []
    for key, field in fields.items():
        fact = ""
        if key not in ("lr", "hr") and field.shape == hr.shape:
            errors = np.abs(field.values - hr.values)
            errors = errors[np.isfinite(errors)]
            rmse = f"{np.sqrt(np.mean(errors**2)):.3g}" if errors.size else "–"
            fact = f"RMSE {rmse} {units}"
        frames.append(Frame(key, titles.get(key, name_of(key)), field, fact))
    return frames


def vector_frames(comparison: Comparison, vectors: Mapping[str, xr.DataArray]) -> list[Frame]:
    """LR, interpolated, HR and each run of two components: speed and arrows, with the RMSE of the vector."""
    of_two = {key: field for key, field in vectors.items() if np.iscomplexobj(field)}
    frames = field_frames(comparison, of_two)
    return [replace(frame, field=abs(frame.field), vectors=frame.field) for frame in frames]


def difference_frames(comparison: Comparison, fields: Mapping[str, xr.DataArray]) -> list[Frame]:
    """Each product on the first run's grid minus HR; with two runs or more also the first two's difference."""
    hr, units = fields["hr"], comparison.first.units
    titles = {result.letter: result.title for result in comparison.shown}
    same = [r.letter for r in comparison.shown if comparison.on_same_grid(r)]
    frames = []
    for key in ("interpolated", *same):
        field = _minus(fields[key], hr)
        frames.append(Frame(key, f"{titles.get(key, name_of(key))} − HR", field, f"bias {_signed_mean(field)} {units}"))
    if len(same) > 1:
        field = _minus(fields[same[0]], fields[same[1]])
        frames.append(Frame("difference", f"{same[0]} − {same[1]}", field, f"mean {_signed_mean(field)} {units}"))
    return frames


def score_frames(
    comparison: Comparison, maps: Mapping[str, xr.DataArray], clim: tuple[float, float], *, gains: bool
) -> list[Frame]:
    """A score by cell of the interpolated field and of each run, with its mean to the digits that suit its range.

    gains : add the relative difference of the mean to that of the interpolated field.
    """
    titles = {result.letter: result.title for result in comparison.results}
    base = _mean(maps["interpolated"])
    frames = []
    for key, field in maps.items():
        mean = _mean(field)
        own = gains and key != "interpolated" and field.shape == maps["interpolated"].shape and base > 0
        gain = f" · {100 * (mean / base - 1):+.0f} %" if own else ""
        fact = f"mean {value_text(mean, clim, '')}{gain}".replace("-", "−")
        frames.append(Frame(key, titles.get(key, name_of(key)), field, fact))
    return frames


def change_frames(changes: Mapping[str, Change]) -> list[Frame]:
    """Changes of RMSE, faint where they aren't clear, with the shares of clearly better and worse cells."""
    return _tested_frames(changes, "− interpolated", ("better", "worse"))


def mean_frames(differences: Mapping[str, Change]) -> list[Frame]:
    """Mean differences, faint where they aren't clear, with the shares of cells clearly too low and too high."""
    return _tested_frames(differences, "− HR", ("lower", "higher"))


def _tested_frames(changes: Mapping[str, Change], minus: str, words: tuple[str, str]) -> list[Frame]:
    letters, frames = [key for key in changes if len(key) == 1], []
    for key, change in changes.items():
        name = f"{letters[0]} − {letters[1]}" if key == BOTH else minus if len(key) == 1 else f"{name_of(key)} {minus}"
        shares = zip((f"{100 * share:.0f} %" for share in change.shares), words, strict=True)
        fact = ", ".join(f"{share} {word}" for share, word in shares if share != "0 %") or "none is clear"
        frames.append(Frame(key, name, change.values, fact, ~change.is_clear))
    return frames


def _minus(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Subtract cell by cell, whatever the last digit of the coordinates."""
    return one.copy(data=one.values - other.values)


def _mean(field: xr.DataArray) -> float:
    values = field.values[np.isfinite(field.values)]
    return float(values.mean()) if values.size else float("nan")


def _signed_mean(field: xr.DataArray) -> str:
    return f"{_mean(field):+.2g}".replace("-", "−")
