"""Every network on real data, and one network at many scales: the tables of docs/networks.md, as JSON.

    python -m tests.benchmarks.network_table OUT.json                       every network on every data set
    python -m tests.benchmarks.network_table OUT.json --data ERA5 --networks graph fno
    python -m tests.benchmarks.network_table OUT.json --any-scale           scales 2.5 to 8 on ERA5

What OUT.json holds already is not measured again. All networks of a data set are trained for as many epochs, and the
epoch is chosen by the validation part, so that a busy machine changes seconds of CPU (of training, its graph's making
included) and nothing else. Data lie in $MESOSCOPE_TEST_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples
from engine.data.times import in_blocks
from engine.downscale import restore_best_weights
from engine.errors import SpecError
from engine.evaluation.ensemble import fair_crps
from engine.evaluation.predict import Downscaler, missing_input
from engine.evaluation.radial_spectra import RadialSpectra, effective_resolution, power_ratio
from engine.files import to_json, write_whole
from engine.models.architecture import count_parameters
from engine.models.second_network import count_second
from engine.run import prepare_training
from engine.runs import Run, Store
from engine.spec import Spec, with_settings
from engine.training.assembly import build_network, make_reproducible, shape_of, with_precision
from engine.training.workers import Workers

FOLDER = Path(os.environ.get("MESOSCOPE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
SHORTEST = 2.5  # cells: waves from two grid lengths up to this length
CELLS_AT_ONCE = 1_000_000  # of HR, read and predicted at once

BACKBONES = ("resnet", "convnet", "densenet", "convnext", "swin", "fno", "graph")
NETWORKS: dict[str, list[str]] = {
    **{name: [f"model.backbone={name}"] for name in BACKBONES},
    "unet": ["model.backbone=unet", "model.upsampling=pin", "model.n_blocks=2"],
    "implicit": ["model.upsampling=implicit"],
    "noise": ["model.noise=4", "training.loss=crps"],
    "flow matching": ["training.learning=flow-matching"],
    "normalizing flow": ["training.learning=normalizing-flow"],
}
DATA: dict[str, dict[str, Any]] = {  # options of data, settings beside them
    "ERA5": {"files": ["era5_uk_t2m.grib", "t2m"], "settings": ["data.scale=4", "training.epochs=12"]},
    "E-OBS": {"files": ["eobs_iberia_pr.nc", ""], "settings": ["data.scale=4", "training.epochs=5"]},
    "radar": {
        "files": ["bom_radar_precipitation.nc", ""],
        "settings": ["data.scale=4", "data.patch_size=128", "model.localized=false", "training.epochs=30"],
    },
}


def spec_of(data: str, settings: list[str]) -> Spec:
    """The default spec on a data set, with its settings and then these."""
    name, variable = DATA[data]["files"]
    target = {"path": str(FOLDER / name), **({"variable": variable} if variable else {})}
    plain = {"version": 1, "data": {"target": target, "split": SPLIT}}
    return Spec.from_plain(with_settings(plain, [*DATA[data]["settings"], *settings]))


def train(spec: Spec, store: Store) -> tuple[Run, Pairs, Downscaler, Samples, float]:
    """Train the networks of a spec; the last is the CPU time in seconds, building and compiling included."""
    workers = Workers(0, 1)
    spec, _ = with_precision(spec, workers)
    make_reproducible(spec)
    pairs = pair(spec.data)
    run, normalizer = store.create(spec, {}), fit_normalizer(pairs, spec.data.scaling)
    normalizer.save(run.normalizer_file, pairs)
    trained: dict[int, Any] = {}
    began = time.process_time()
    for number in spec.trainings:
        network = build_network(spec.of_network(number), pairs, normalizer)
        if not prepare_training(run, workers, network, pairs, normalizer, number, trained=trained).run():
            raise SystemExit("the training was stopped")
        restore_best_weights(network, run, number)
        trained[number] = network
    seconds = time.process_time() - began
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    return run, pairs, Downscaler.of([trained[0]], spec, samples), samples, seconds


def measure(spec: Spec, store: Store) -> dict[str, Any]:
    """Train the network of a spec, and score it and the interpolated field, over all values of the test part."""
    _, pairs, downscaler, samples, seconds = train(spec, store)
    shape = shape_of(spec, pairs, samples.normalizer)
    scores = {"network": Sums(pairs), "interpolated": Sums(pairs)}
    for rows in in_blocks(np.arange(len(samples)), pairs.hr_grid.shape, CELLS_AT_ONCE):
        inputs, block = samples.read(rows)
        missing = missing_input(samples, block).repeat(pairs.scale, 1).repeat(pairs.scale, 2)
        hr = np.where(missing, np.nan, block.hr)
        scores["network"].add(downscaler.predict_members(samples, inputs), hr)
        scores["interpolated"].add(downscaler.interpolated(samples, block.lr)[None], hr)
    parameters = sum(count_parameters(spec.model, shape).values()) + count_second(spec, shape)
    found = {name: sums.scores() for name, sums in scores.items()}
    return {**found, "parameters": parameters, "cpu_s": round(seconds, 1), "epochs": spec.training.epochs}


class Sums:
    """Sums over a test part: errors of the mean of members, their fair CRPS, and spectra of the first of them."""

    def __init__(self, pairs: Pairs):
        self.count, self.squares, self.absolute, self.crps, self.members = 0, 0.0, 0.0, 0.0, 1
        self.grid, self.spectra = pairs.hr_grid, None

    def add(self, members: np.ndarray, hr: np.ndarray) -> None:
        """Add (member, time, y, x) and HR (time, y, x); NaN where missing."""
        valid = np.isfinite(hr) & np.isfinite(members[0])
        of_cells, truth = members[:, valid].astype(np.float64), hr[valid].astype(np.float64)
        error, self.members = of_cells.mean(axis=0) - truth, len(members)
        self.count, self.squares = self.count + error.size, self.squares + float((error**2).sum())
        self.absolute += float(np.abs(error).sum())
        self.crps += float(fair_crps(of_cells, truth).sum()) if self.members > 1 else 0.0
        if self.spectra is None:
            self.spectra = RadialSpectra.empty(self.grid, valid.all(axis=0), 1)
        self.spectra = self.spectra.add(self.spectra.of_steps(np.stack([hr, members[0]])))

    def scores(self) -> dict[str, float | None]:
        """RMSE and MAE; CRPS of members; power over HR's at waves of 2 to 2.5 cells; effective resolution in km."""
        spectra = self.spectra
        short = spectra.wavenumber >= spectra.wavenumber.max() * 2 / SHORTEST
        power = spectra.power[:, short].sum(axis=1)
        return {
            "rmse": (self.squares / self.count) ** 0.5,
            "mae": self.absolute / self.count,
            "crps": self.crps / self.count if self.members > 1 else None,
            "power": float(power[1] / power[0]),
            "resolution_km": effective_resolution(spectra.wavenumber, power_ratio(spectra)[0]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--any-scale", action="store_true", help="the table of scales in place of that of networks")
    asked = parser.parse_args()
    for path, figures in _measured(asked):
        known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
        known.setdefault(path[0], {})[path[1]] = figures
        write_whole(asked.out, to_json(known))
        print(*path, json.dumps(figures), flush=True)


def _measured(asked: argparse.Namespace) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    if asked.any_scale:
        from tests.benchmarks.any_scale_table import SPECS, measure_scales

        cases = [("any scale", name, "ERA5", settings, measure_scales) for name, settings in SPECS.items()]
    else:
        cases = [(data, name, data, NETWORKS[name], measure) for data in asked.data for name in asked.networks]
    for table, name, data, settings, measurement in cases:
        if name in known.get(table, {}):
            continue
        try:
            spec = spec_of(data, settings)
        except SpecError as error:  # fno sees whole fields, and the radar's are trained in patches
            yield (table, name), {"refused": str(error)}
            continue
        with tempfile.TemporaryDirectory() as folder:
            yield (table, name), measurement(spec, Store(Path(folder)))


if __name__ == "__main__":
    main()
