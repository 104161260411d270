"""Search against the defaults and the full grid on real data: the table of docs/networks.md, as JSON.

    python -m tests.benchmarks.search_table OUT.json [--minutes 30] [--trials 12] [--data ERA5 radar]

Each search begins with the default network, so that both are trained for as many epochs, in the same way. Trials are
the runs of `engine search`, in threads of this process, so that its CPU seconds are theirs; the start of a process for
each is left out. Of the full grid, the combinations of the default space at one learning rate, CPU seconds are
estimated as if each cost as little as the default. What OUT.json holds already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from math import prod
from pathlib import Path

import keras
import numpy as np

from engine import search
from engine.cli.inputs import check_data
from engine.data.netcdf import open_netcdf
from engine.errors import MesoscopeError
from engine.files import to_json, write_whole
from engine.launch import api
from engine.run import work
from engine.runs import LaunchEvent, Run, Store
from engine.spec import Spec, with_settings
from tests.benchmarks.network_table import FOLDER, SPLIT, spec_of

EPOCHS = {"E-OBS precipitation": 8, "E-OBS temperature": 8, "ERA5": 12, "radar": 4}


def default_spec(data: str) -> Spec:
    """The default network on a data set."""
    epochs = f"training.epochs={EPOCHS[data]}"
    if data != "E-OBS temperature":
        return spec_of("E-OBS" if data == "E-OBS precipitation" else data, [epochs])
    files = [FOLDER / f"ncep_iberia_{name}.nc" for name in ("tas", "psl", "hus850", "ta850")]
    target, lr, *predictors = ({"path": str(path)} for path in [FOLDER / "eobs_iberia_tas.nc", *files])
    plain = {"target": target, "pairing": "mos", "lr": lr, "predictors": predictors, "scale": 5, "split": SPLIT}
    return Spec.from_plain(with_settings({"version": 1, "data": plain}, [epochs]))


class Trainings:
    """Runs in a thread of this process, one at a time, in place of `api.submit`."""

    def __init__(self) -> None:
        self._thread = threading.Thread()

    def submit(self, spec: Spec, store: Store) -> Run:
        self.join()
        keras.backend.clear_session()
        run = api.create(spec, store)
        self._thread = threading.Thread(target=self._work, args=(run,))
        self._thread.start()
        return run

    def join(self) -> None:
        """Wait for the end of the last one: a run that is cancelled stops after its step."""
        if self._thread.ident:
            self._thread.join()

    def _work(self, run: Run) -> None:
        try:
            work(run)
        except MesoscopeError as error:
            run.record_launch(LaunchEvent.ENDED, rc=1, reason=str(error))


def measure(spec: Spec, budget: search.Budget, folder: Path) -> dict[str, object]:
    """Search, and compare the first trial, the default, with the best one."""
    space = search.parse_space(f"{option}={text}" for option, text in search.SPACE.items())
    study, store, trainings = (
        search.open_study(folder / "journal.jsonl", spec, space),
        Store(folder / "runs"),
        Trainings(),
    )
    api.submit, marks = trainings.submit, [time.process_time()]
    search.search(
        study, spec, space, store, budget, name="search", check=lambda changed: check_data(changed, store),
        refresh=lambda run: None, report=lambda line: print(line, flush=True),
        ended=lambda: marks.append(time.process_time()),
    )  # fmt: skip
    trainings.join()
    spent, trials = time.process_time() - marks[0], search.trials_of(study)
    combinations = len(search._allowed(spec, space, print))
    grid = combinations * prod(len(space[f"model.{name}"]) for name in ("n_filters", "n_blocks"))
    default = next(trial for trial in trials if not trial.number)
    states = [trial.state for trial in trials]
    compared = {"default": default, "best": next(trial for trial in trials if trial.state == "complete")}
    return {
        name: {"settings": t.settings, "val_rmse": t.val_rmse, "test_rmse": rmse(store.run(t.run).results)}
        for name, t in compared.items()
    } | {
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "cpu_s": round(spent),
        "grid_combinations": grid,
        "grid_cpu_s": round(grid * (marks[1] - marks[0])),
    }


def rmse(results: Path) -> float:
    """RMSE of the downscaled field over all values of the test part."""
    with open_netcdf(results) as file:
        error = np.asarray(file["downscaled"], "float64") - np.asarray(file["hr"], "float64")
    return float(np.sqrt(np.nanmean(error**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0, help="time of each search")
    parser.add_argument("--trials", type=int, default=12, help="most trials of each search")
    parser.add_argument("--data", nargs="*", choices=EPOCHS, default=list(EPOCHS))
    asked = parser.parse_args()
    for data in asked.data:
        known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
        if data not in known:
            with tempfile.TemporaryDirectory() as folder:
                known[data] = measure(default_spec(data), search.Budget.of(asked.minutes, asked.trials), Path(folder))
            write_whole(asked.out, to_json(known))
            print(data, json.dumps(known[data]), flush=True)


if __name__ == "__main__":
    main()
