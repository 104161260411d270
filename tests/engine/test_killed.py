"""A run that is killed at any moment, and taken up, ends with the weights of one that was not: to the last bit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.launch.local import ROOT, environment
from engine.runs import Run, Store
from engine.training import checkpoints
from engine.training.checkpoints import BEST, LAST
from tests.engine.launch.engine_processes import TIMEOUT_S, no_processes_left, write_spec

SCRIPT = Path(__file__).with_name("kill_and_resume.py")
LANES = 2  # runs that are killed by turns, at the same time
IN_TRAINING = ["starting", "training", "training", "training", "training", "training"]
IN_TRAINING += ["checkpoints/last.npz", "checkpoints/last.npz", "checkpoints/best.npz"]
FIRST, LAST_OF_ALL = "checkpoints/scaling.nc", "results/test.nc"
EPOCHS = 40  # some are left after the last kill, however late it came


def moments(lane: int) -> list[str]:
    """Ten of each lane: in any order, but for what can only come first or last."""
    shuffled = random.Random(lane).sample(IN_TRAINING, len(IN_TRAINING))
    return [*([FIRST] if lane else []), *shuffled, *([] if lane else [LAST_OF_ALL])]


@pytest.mark.slow
def test_a_run_killed_at_twenty_moments_ends_with_the_same_weights(tmp_path):
    training = {"epochs": EPOCHS, "batch_size": 7, "early_stopping": False, "ema": 0.9}
    spec = write_spec(tmp_path, training=training)
    plans = {"undisturbed": [], **{f"lane-{lane}": moments(lane) for lane in range(LANES)}}
    assert sum(map(len, plans.values())) == 20
    with no_processes_left(tmp_path):
        lanes = [start(spec, tmp_path / name, seed, plan) for seed, (name, plan) in enumerate(plans.items())]
        output = [lane.communicate(timeout=TIMEOUT_S) for lane in lanes]
    for lane, (_, errors) in zip(lanes, output, strict=True):
        assert lane.returncode == 0, errors
    undisturbed, *killed = (only_run(tmp_path / name) for name in plans)
    for run, (found, _) in zip(killed, output[1:], strict=True):
        places = json.loads(found.splitlines()[-1])
        assert len({str(place) for place in places}) > 3, places  # they were spread over the training
        assert_same(run, undisturbed)
        assert not list(run.folder.rglob(".*"))  # nothing half written is left
        assert run.scores() == undisturbed.scores()


def start(spec: Path, store: Path, seed: int, plan: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(spec), str(store), str(seed), *plan]
    env = environment(os.environ, 2) | {"OPENBLAS_NUM_THREADS": "1"}  # else NumPy starts threads when imported
    return subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def only_run(store: Path) -> Run:
    (run,) = Store(store).runs()
    return run


def assert_same(run: Run, undisturbed: Run) -> None:
    """All that the checkpoints hold: weights, optimizer, averages, random state, and where the training stands."""
    for name in (LAST, BEST):
        paths = [each.folder / "checkpoints" / name for each in (run, undisturbed)]
        (groups, state), (expected, expected_state) = map(checkpoints.load, paths)
        assert {group: list(arrays) for group, arrays in groups.items()} == {g: list(a) for g, a in expected.items()}
        for group, arrays in expected.items():
            for key, array in arrays.items():
                np.testing.assert_array_equal(groups[group][key], array, err_msg=f"{name} {group} {key}", strict=True)
        for timed in ("elapsed_s", "seq"):
            del state[timed], expected_state[timed]
        assert state == expected_state
