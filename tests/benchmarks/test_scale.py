"""Measurements behind docs/scale.md: bytes that ranks exchange, checkpoints, and the reading rate of a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from engine import run as engine_run
from engine.data.pairs import pair
from engine.launch.local import ROOT, environment
from engine.runs import Store
from engine.spec import Spec
from engine.training import assembly
from engine.training.checkpoints import LAST
from engine.training.workers import Workers
from tests.benchmarks.record import record
from tests.engine.data.mock import write_field

SIDE, FIELDS, BATCH, STEPS = 256, 400, 16, 8
PARAMETERS = 1_000_000
TIMEOUT_S = 300


@pytest.mark.slow
def test_checkpoint_reading_and_step_of_the_reference_experiment(tmp_path: Path) -> None:
    """The default network on 256 × 256 cells at scale 4."""
    write_field(tmp_path / "hr.nc", ny=SIDE, nx=SIDE, times=FIELDS, dy=0.1, dx=0.1)
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 4}}, tmp_path)
    run = Store(tmp_path / "runs").create(spec, {})
    pairs = pair(spec.data)
    normalizer = engine_run.share_normalizer(run, Workers(0, 1), pairs)
    network = assembly.build_network(spec, pairs, normalizer)
    training = engine_run.prepare_training(run, Workers(0, 1), network, pairs, normalizer)
    training.save()
    began = time.perf_counter()
    training.save()
    saved_s = time.perf_counter() - began
    size, parameters = (run.folder / "checkpoints" / LAST).stat().st_size, network.count_params()
    record("checkpoint", {"parameters": parameters, "bytes": size, "ms": round(1000 * saved_s)})
    assert size == pytest.approx(3 * 4 * parameters, rel=0.05)  # weights and Adam's two moments

    order = np.random.default_rng(0).permutation(len(training.train.samples))
    began = time.perf_counter()
    for first in range(0, len(order) - BATCH, BATCH):
        training.train.samples.load(order[first : first + BATCH])
    rate = (len(order) // BATCH * BATCH) / (time.perf_counter() - began)
    record("reading alone", {"samples_per_s": round(rate), "hr_mb_per_s": round(rate * 4 * SIDE**2 / 1e6)})

    batches = iter(training.train.stream(training.plans))
    training.step.run(batches, tf.constant(1)).numpy()  # builds the graph
    began = time.perf_counter()
    training.step.run(batches, tf.constant(STEPS)).numpy()
    record("reference step", {"samples_per_s": round(STEPS * BATCH / (time.perf_counter() - began), 1)})


@pytest.mark.slow
def test_what_two_ranks_exchange_to_average_gradients() -> None:
    """Each of n ranks sends 2 (n - 1) / n times the gradients, by a ring: with two, once."""
    horovodrun = Path(sys.executable).with_name("horovodrun")
    script = Path(__file__).with_name("allreduce.py")
    command = [str(horovodrun), "-np", "2", "--gloo", sys.executable, str(script), str(PARAMETERS)]
    env = environment(os.environ, 2)
    completed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert completed.returncode == 0, completed.stderr
    (line,) = re.findall(r"\{.*\}", completed.stdout)
    figures = json.loads(line)
    record("averaging gradients on two ranks", {"gradient_bytes": 4 * PARAMETERS, **figures})
    assert figures["bytes_sent_per_rank"] == pytest.approx(4 * PARAMETERS, rel=0.1)  # others use the loopback too
