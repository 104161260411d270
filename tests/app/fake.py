"""A finished run without training: a complete, believable run folder from smooth random fields."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr
from scipy import ndimage

from engine.evaluation.scores import score
from engine.evaluation.verification import write_verification
from engine.files import append_line, to_json, write_whole
from engine.runs import Run, Store
from engine.runs.folder import site_file
from engine.spec import Spec

ALBERS = {
    "grid_mapping_name": "albers_conical_equal_area",
    "standard_parallel": [-18.0, -36.0],
    "longitude_of_central_meridian": 145.0,
    "latitude_of_projection_origin": -27.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "semi_major_axis": 6_378_137.0,
    "inverse_flattening": 298.257222101,
}


def write_run(
    store_folder: Path,
    title: str,
    *,
    ny: int = 32,
    nx: int = 48,
    scale: int = 4,
    n_times: int = 48,
    seed: int = 0,
    done: bool = True,
    skill: float = 0.6,
    start: str = "2019-03-01",
    calendar: str = "standard",
    projected: bool = False,
    sea: bool = False,
    model: dict[str, Any] | None = None,
    verified: bool = True,
    baselines: bool = False,
    surface: bool = False,
) -> Run:
    """A run folder as the engine leaves it; the same seed, sizes and start give the same truth.

    `skill` is the share of the interpolation's error that the downscaled field takes away.
    `baselines` adds nearest and pc_regression; `surface` static variables that say where land is, and how high.
    With done=False the run is in the middle of training: no results, a fresh heartbeat from another host.
    """
    run = Store(Path(store_folder)).create(_spec(title, scale, seed, model or {}), {"target": "local", "versions": {}})
    _write_progress(run.folder / "progress.jsonl", epochs=40 if done else 17, seed=seed)
    if not done:
        _write_running(run)
        return run
    results = make_results(ny, nx, scale, n_times, seed, skill, start, calendar, projected, sea)
    results.to_netcdf(run.results)
    if surface:
        _write_surface(run, results)
    if baselines:
        results = results.assign(_baselines(results, scale))
        results[["nearest", "pc_regression"]].to_netcdf(run.baselines)
    write_whole(run.folder / "results" / "scores.json", to_json(score(results).to_plain()))
    if verified:
        write_verification(run.results, run.verification)
    run.write_manifest()
    run.record_launch("started", host="elsewhere", pid=1)
    write_whole(run.folder / "log.txt", "loaded 520 samples\ntrained 40 epochs\nscored the test period\n")
    write_whole(run.folder / "DONE", "")
    return run


def write_remote_run(
    store_folder: Path, title: str, word: str, reason: str = "", *, seen_s: float = 0.0, **request: Any
) -> Run:
    """A run on a target as the last look found it, so many seconds ago; `request` adds to or replaces what was asked.

    Words that are no state but a stage, 'sending' and 'refused', make a run whose submission is under way or failed.
    """
    store, now = Store(Path(store_folder)), time.time() - seen_s
    asked = {"target": "hpc", "kind": "slurm", "token": "t0", "job": "4711", "stage": "sent", "time": now - 900}
    handing = {"stage": word, "reason": reason, "job": None} if word in ("sending", "refused") else {}
    run = store.create(_spec(title, 4, 0, {}), {"versions": {}, **asked, **handing, **request})
    if word == "sending":
        me = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": psutil.Process().create_time()}
        run.update_request(sender=me)
    elif word != "refused":
        done = reason.startswith("fetching results")
        look = {"token": "t0", "word": word, "reason": reason, "since": now - 720, "job": "4711", "done": done}
        write_whole(run.last_poll_file, to_json(look))
        if done:
            write_whole(run.folder / "status" / "fetch.json", to_json({"time": now, "reason": reason}))
    if word == "running":
        _write_progress(run.folder / "progress.jsonl", epochs=17, seed=0)
    path = site_file(store.folder, str(run.request.target), "json")
    path.parent.mkdir(exist_ok=True)
    write_whole(path, to_json({"tried": now, "time": now, "failures": 0}))
    return run


def make_results(
    ny: int,
    nx: int,
    scale: int,
    n_times: int,
    seed: int,
    skill: float,
    start: str = "2019-03-01",
    calendar: str = "standard",
    projected: bool = False,
    sea: bool = False,
) -> xr.Dataset:
    """What results/test.nc holds: 2 m temperature in K, HR (ny, nx), LR (ny // scale, nx // scale)."""
    random = np.random.default_rng(seed)
    hr = _truth(random, n_times, ny, nx)
    lr = hr.reshape(n_times, ny // scale, scale, nx // scale, scale).mean(axis=(2, 4))
    interpolated = ndimage.zoom(lr, (1, scale, scale), order=3, mode="nearest", grid_mode=True)
    noise = 0.08 * _smooth(np.random.default_rng(seed + 1000 + round(100 * skill)), n_times, ny, nx, 1.0)
    downscaled = hr + (1 - skill) * (interpolated - hr) + noise
    if sea:
        land = ~_sea_mask(ny, nx)
        hr, interpolated, downscaled = (np.where(land, field, np.nan) for field in (hr, interpolated, downscaled))
    fields = {"hr": hr, "interpolated": interpolated, "downscaled": downscaled, "lr": lr}
    return _dataset(fields, scale, start, calendar, projected)


def _spec(title: str, scale: int, seed: int, model: dict[str, Any]) -> Spec:
    plain = {
        "version": 1,
        "data": {"target": {"path": "/data/temperature.nc", "variable": "t2m"}, "scale": scale},
        "model": model,
        "training": {"epochs": 40, "seed": seed},
        "launch": {"title": title},
    }
    return Spec.from_plain(plain)


def _write_surface(run: Run, results: xr.Dataset) -> None:
    """A land that rises eastward from its coast to 1500 m, as static variables in scaling.nc."""
    hr = results["hr"].isel(time=0, drop=True)
    land = ~_sea_mask(*hr.shape)
    height = np.where(land, np.linspace(0, 1500, hr.shape[1]), 0).astype("float32")
    static = {
        "static_0": (("y", "x"), height, {"units": "m", "source_name": "orography"}),
        "static_1": (("y", "x"), land.astype("float32"), {"units": "1", "source_name": "lsm"}),
    }
    cells = (("y", "x"), np.ones(hr.shape, "int8"), hr.attrs)
    file = xr.Dataset({"cells": cells, **static}, hr.coords, {"target": "t2m", "own": json.dumps(hr.shape)})
    run.normalizer_file.parent.mkdir(exist_ok=True)
    file.to_netcdf(run.normalizer_file)


def _baselines(results: xr.Dataset, scale: int) -> dict[str, xr.DataArray]:
    """Two of the baselines: nearest, and a PC regression that leaves a third of the interpolation's error."""
    nearest = results["lr"].values.repeat(scale, 1).repeat(scale, 2)
    hr, interpolated = results["hr"], results["interpolated"]
    regression = hr + (interpolated - hr) / 3
    return {"nearest": hr.copy(data=np.where(np.isfinite(hr), nearest, np.nan)), "pc_regression": regression}


def _truth(random: np.random.Generator, n_times: int, ny: int, nx: int) -> np.ndarray:
    """Warmer in the south, fixed relief, weather that moves, a diurnal cycle; (time, y, x) in K."""
    north = np.linspace(-3, 3, ny)[None, :, None]
    relief = _smooth(random, 1, ny, nx, 1.6) * 1.2
    weather = _smooth(random, n_times, ny, nx, max(ny, nx) / 7, steps=6.0) * 2.5
    detail = _smooth(random, n_times, ny, nx, 1.8, steps=3.0) * 0.7
    diurnal = 2.0 * np.sin(2 * np.pi * (np.arange(n_times) / 24 - 0.3))[:, None, None]
    return (281.0 + north + relief + weather + detail + diurnal).astype("float32")


def _smooth(
    random: np.random.Generator, n_times: int, ny: int, nx: int, cells: float, steps: float = 0.0
) -> np.ndarray:
    """Noise of unit variance with that correlation length in cells and time steps."""
    field = ndimage.gaussian_filter(random.standard_normal((n_times, ny, nx)), (steps, cells, cells), mode="reflect")
    return field / field.std()


def _sea_mask(ny: int, nx: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : ny * 1j, 0 : 1 : nx * 1j]
    return (x - 0.15 * np.sin(6 * y)) < 0.25


def _dataset(fields: dict[str, np.ndarray], scale: int, start: str, calendar: str, projected: bool) -> xr.Dataset:
    n_times, ny, nx = fields["hr"].shape
    time_axis = xr.date_range(start, periods=n_times, freq="h", calendar=calendar, use_cftime=calendar != "standard")
    y, x = _axes(ny, nx, projected)
    coords = {
        "time": ("time", time_axis, {"standard_name": "time"}),
        "y": ("y", y, _axis_attrs("y", projected)),
        "x": ("x", x, _axis_attrs("x", projected)),
        "y_lr": ("y_lr", _block_means(y, scale), _axis_attrs("y", projected)),
        "x_lr": ("x_lr", _block_means(x, scale), _axis_attrs("x", projected)),
    }
    target = {"units": "K", "long_name": "2 metre temperature", "standard_name": "air_temperature"}
    mapping = {"grid_mapping": "crs"} if projected else {}
    data: dict[str, Any] = {
        name: (
            ("time", "y_lr", "x_lr") if name == "lr" else ("time", "y", "x"),
            values.astype("float32"),
            {**target, **mapping},
        )
        for name, values in fields.items()
    }
    for product in ("downscaled", "interpolated"):
        rmse = np.sqrt(np.mean((fields[product] - fields["hr"]) ** 2, axis=0)).astype("float32")
        attrs = {"units": "K", "long_name": f"RMSE of the {product} field over the test period", **mapping}
        data[f"rmse_{product}"] = (("y", "x"), rmse, attrs)
    if projected:
        data["crs"] = ((), 0, ALBERS)
    return xr.Dataset(data, coords, {"Conventions": "CF-1.11"})


def _axes(ny: int, nx: int, projected: bool) -> tuple[np.ndarray, np.ndarray]:
    """North first; 0.25° over the British Isles, or 2 km over south-east Australia."""
    if projected:
        return 1_000_000.0 - 2000.0 * np.arange(ny) - 2_000_000.0, 2000.0 * np.arange(nx) + 400_000.0
    return 58.0 - 8.0 / ny * np.arange(ny), 12.0 / nx * np.arange(nx) - 10.0


def _axis_attrs(axis: str, projected: bool) -> dict[str, str]:
    if projected:
        return {"standard_name": f"projection_{axis}_coordinate", "units": "m", "axis": axis.upper()}
    name, units = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}[axis]
    return {"standard_name": name, "units": units, "axis": axis.upper()}


def _block_means(axis: np.ndarray, scale: int) -> np.ndarray:
    return axis.reshape(-1, scale).mean(axis=1)


def _write_progress(path: Path, epochs: int, seed: int, steps: int = 5) -> None:
    """Five records an epoch; validation on the last of each."""
    random, begun = np.random.default_rng(seed), time.time() - 600
    lines = []
    for number in range(epochs * steps):
        epoch, step = divmod(number, steps)
        loss = 0.25 + 0.9 * np.exp(-number / 40) + 0.02 * random.standard_normal()
        record: dict[str, Any] = {
            "seq": number,
            "time": begun + number,
            "epoch": epoch + 1,
            "epochs": 40,
            "step": step + 1,
            "steps": steps,
            "loss": float(loss),
            "samples_per_s": float(900 + 20 * random.standard_normal()),
            "learning_rate": 1e-3,
            "elapsed_s": float(number),
            "eta_s": float(40 * steps - number),
        }
        if step == steps - 1:
            record |= {"val_loss": float(loss + 0.03), "val_rmse": float(1.3 * loss)}
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\n")


def _write_running(run: Run) -> None:
    run.record_launch("started", host="elsewhere", pid=1)
    beat = {"rank": 0, "time": time.time(), "phase": "training", "host": "elsewhere", "pid": 1}
    write_whole(run.folder / "status" / "rank-0.json", to_json(beat))
    append_line(
        run.folder / "status" / "launcher.jsonl",
        {"time": time.time(), "event": "started", "host": "elsewhere"},
    )
