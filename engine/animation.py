"""Animation of the test steps of runs, from their run folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import ascii_uppercase

import xarray as xr

from engine.data.netcdf import open_netcdf
from engine.errors import RequestError
from engine.evaluation.animation import gif_of, has_ffmpeg, write_mp4
from engine.files import whole_file, write_whole
from engine.runs import Run


def possible_endings() -> list[str]:
    """Endings of the files that can be made here: MP4 needs ffmpeg."""
    return [".gif", ".mp4"] if has_ffmpeg() else [".gif"]


def animation_of(runs: Sequence[Run]) -> bytes:
    """Draw the test steps of runs as GIF; raises what `gif_of` does, and RequestError if a run has no results."""
    with _opened(runs) as results:
        return gif_of(results)


def write_animation(runs: Sequence[Run], path: Path) -> None:
    """Write an animation in the format of its ending, one of `possible_endings`; raises as `animation_of`."""
    if path.suffix == ".gif":
        write_whole(path, animation_of(runs))
        return
    with _opened(runs) as results, whole_file(path) as sibling:
        write_mp4(results, sibling)


@contextmanager
def _opened(runs: Sequence[Run]) -> Iterator[dict[str, xr.Dataset]]:
    """Results of runs by letter and title."""
    with ExitStack() as files:
        opened = {}
        for letter, run in zip(ascii_uppercase, runs, strict=False):
            if not run.results.is_file():
                raise RequestError(f"run {run.id} has no results yet", action="wait for its end, or resume it")
            opened[f"{letter} {run.title}"] = files.enter_context(open_netcdf(run.results, decode_coords="all"))
        yield opened
