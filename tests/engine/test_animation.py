"""The animation: frames, sizes and colours of the GIF, what ffmpeg is given, and what can't be animated."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from engine.cli import main
from engine.errors import RequestError
from engine.evaluation import animation
from engine.evaluation.animation import COLOURS, gif_of, write_mp4
from tests.app.fake import make_results, write_run


def two_levels(n_times: int = 5) -> xr.Dataset:
    """The downscaled field rises step by step from 280 to 300 K everywhere, HR is 290 K, LR 280 K, or 300 K at last."""
    data = make_results(16, 16, 4, n_times, 0, 0.5)
    steps = np.linspace(280, 300, n_times, dtype="float32")[:, None, None]
    lr = np.full(data["lr"].shape, 280, "float32")
    lr[-1] = 300
    return data.assign(
        hr=data["hr"].copy(data=np.full(data["hr"].shape, 290, "float32")),
        interpolated=data["hr"].copy(data=np.full(data["hr"].shape, np.nan, "float32")),
        downscaled=data["hr"].copy(data=np.broadcast_to(steps, data["hr"].shape)),
        lr=data["lr"].copy(data=lr),
    )


def colour_at(image: Image.Image, frame: int, panel: int) -> tuple[int, ...]:
    """Colour in a panel of the single row of four, right of its middle, where coasts of the fake grid aren't."""
    image.seek(frame)
    rgb = np.asarray(image.convert("RGB"))
    # Panels fill the width left of the colour bar; the most frequent colour of a panel's columns but white is its own.
    columns = np.array_split(rgb[:, : int(0.86 * rgb.shape[1])], 4, axis=1)[panel].reshape(-1, 3)
    colours, counts = np.unique(columns[(columns != 255).any(axis=1)], axis=0, return_counts=True)
    return tuple(int(part) for part in colours[counts.argmax()])


def test_each_step_is_a_frame_in_colours_of_one_range():
    image = Image.open(BytesIO(gif_of({"A": two_levels()})))
    assert (image.format, image.n_frames, image.info["duration"]) == ("GIF", 5, 250)
    assert image.size[0] <= 1100
    # The range is 280 to 300 K, so that 280 is the first colour of 200, 290 number 100, and 300 the last.
    first, middle, last = (
        tuple((255 * np.array(mpl.colormaps["viridis"].resampled(COLOURS)(number)[:3])).round().astype(int).tolist())
        for number in (0, COLOURS // 2, COLOURS - 1)
    )
    expected = {0: (first, first, middle), 2: (first, middle, middle), 4: (last, last, middle)}
    for frame, (lr, downscaled, hr) in expected.items():
        assert [colour_at(image, frame, panel) for panel in (0, 3, 2)] == [lr, downscaled, hr]
        assert colour_at(image, frame, 1) == (0xD9,) * 3  # missing


def test_frames_and_cells_are_bounded(monkeypatch):
    monkeypatch.setattr(animation, "MOST_FRAMES", 3)
    monkeypatch.setattr(animation, "MOST_CELLS", 5)
    image = Image.open(BytesIO(gif_of({"A": two_levels(40)})))
    assert image.n_frames == 3
    # Steps 0, 19 and 39 of 40: the first and the last are the ends of the range.
    image.seek(0)
    size = image.size
    assert colour_at(image, 2, 3) != colour_at(image, 0, 3)
    assert image.size == size


def test_ffmpeg_is_given_whole_frames(tmp_path, monkeypatch):
    """What stands in for ffmpeg writes its arguments and the number of bytes that it was given."""
    fake = tmp_path / "ffmpeg"
    fake.write_text('#!/bin/sh\nfor last; do :; done\n{ echo "$@"; wc -c; } > "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write_mp4({"A": two_levels()}, tmp_path / "out.mp4")
    arguments, given = (tmp_path / "out.mp4").read_text().splitlines()
    width, height = map(int, arguments.split(" -s ")[1].split()[0].split("x"))
    assert int(given) == 5 * width * height * 3
    assert width % 2 == height % 2 == 0  # as H.264 wants
    fake.write_text("#!/bin/sh\ncat > /dev/null\necho no encoder >&2\nexit 1\n")
    with pytest.raises(Exception, match="ffmpeg made no MP4: no encoder"):
        write_mp4({"A": two_levels()}, tmp_path / "other.mp4")


def test_it_comes_beside_the_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("engine.animation.has_ffmpeg", lambda: False)
    runs = [write_run(tmp_path / "runs", title, ny=16, nx=24, n_times=4) for title in ("a", "b")]
    words = ["report", *(run.id for run in runs), "--store", str(tmp_path / "runs"), "--animation", "--json"]
    assert main([*words, "-o", str(tmp_path / "r.html")]) == 0
    (made,) = json.loads(capsys.readouterr().out)["animation"]
    assert Path(made) == tmp_path / "r.gif"
    with Image.open(made) as image:
        assert image.n_frames == 4
    (tmp_path / "r.html").unlink()
    assert main([*words, "-o", str(tmp_path / "r.html")]) == 2
    assert "r.gif exists already" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_other_test_parts_are_refused():
    with pytest.raises(RequestError, match="other test parts"):
        gif_of({"A": two_levels(5), "B": two_levels(6)})
    with pytest.raises(RequestError, match="no steps"):
        gif_of({"A": two_levels().isel(time=slice(0))})
    with pytest.raises(RequestError, match="at most 8 runs"):
        gif_of({str(number): two_levels() for number in range(9)})
