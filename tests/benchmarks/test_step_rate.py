"""How much of the machine a training step uses, and what a second rank adds."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

import pytest
import tensorflow as tf

from engine.data.demo import write_demo
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.models.upsampling import hr_filters, stages
from engine.runs import Run
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.benchmarks.record import record
from tests.engine.launch.engine_processes import CommandLine

KERNEL = 9  # cells of a 3 × 3 convolution

SIDE, PRODUCTS, STEPS, ROUNDS = 1024, 20, 30, 7
GRADIENT = 3  # a step computes each product once forward and twice for the gradient


def convolution_flop(spec: Spec, shape: Shape) -> float:
    """Multiplications and additions of one sample's 3 × 3 convolutions, by hand, for the default resnet with spc."""
    n, m, cells = spec.model.n_filters, hr_filters(spec.model), shape.y_lr * shape.x_lr
    total = cells * KERNEL * n * (shape.channels + shape.static + 2 * spec.model.n_blocks * n)
    width = n
    for factor in stages(shape.scale):
        total += cells * KERNEL * width * m * factor**2
        cells, width = cells * factor**2, m
    return 2.0 * (total + cells * (KERNEL * (m + shape.static) * m + KERNEL * m))


@pytest.mark.slow
def test_the_step_against_matrix_products(shared_data: Path) -> None:
    """The default network on ERA5-UK: its convolutions' rate over that of 1024 × 1024 matrix products, by turns."""
    target = {"path": str(shared_data / "era5_uk_t2m.grib"), "variable": "t2m"}
    spec = Spec.from_plain({"version": 1, "data": {"target": target, "scale": 4}})
    pairs = pair(spec.data)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    samples = Samples(pairs, normalizer, spec.data, pairs.parts.train)
    shape = Shape(*pairs.lr_grid.shape, samples.channels, 0, pairs.scale)
    network = build(spec.model, shape, Output.of(spec.model, normalizer, pairs.interpolation))
    step = Step(network, spec.training, 10_000, Workers(0, 1), normalizer)
    shuffle = Shuffle.of(spec, len(samples), pairs.lr_grid.shape)
    batch = next(iter(Feed(samples, in_memory=True).stream(lambda: [shuffle.epoch(0)])))
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    a, b = tf.random.normal((SIDE, SIDE)), tf.random.normal((SIDE, SIDE))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, b)))
    flop = GRADIENT * spec.training.batch_size * convolution_flop(spec, shape)
    rates: dict[str, list[float]] = {"step": [], "product": []}
    for round_ in range(ROUNDS + 1):
        began = time.perf_counter()
        step.run(batches, tf.constant(STEPS)).numpy()
        between = time.perf_counter()
        for _ in range(PRODUCTS):
            product()
        ended = time.perf_counter()
        if round_:  # the first builds the graphs
            rates["step"].append(STEPS * flop / (between - began) / 1e9)
            rates["product"].append(PRODUCTS * 2 * SIDE**3 / (ended - between) / 1e9)
    ratio = statistics.median(x / y for x, y in zip(rates["step"], rates["product"], strict=True))
    figures = {f"{name}_gflop_per_s": round(statistics.median(values), 1) for name, values in rates.items()}
    record("bare step against matrix products", {**figures, "step_over_product": round(ratio, 3)})
    assert ratio >= 0.5


@pytest.mark.slow
def test_two_ranks_against_one_process(tmp_path: Path) -> None:
    """Samples per second of all ranks together, the same batch for all; trained by turns, three times each."""
    write_demo(tmp_path)
    engine = CommandLine(tmp_path / "runs")
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for processes in speeds:
            settings = (f"launch.processes={processes}", f"training.batch_size={16 // processes}", "training.epochs=6")
            speeds[processes].append(_speed(engine.submit(tmp_path / "demo_mos.yaml", *settings)))
    ratio = statistics.median(two / one for one, two in zip(speeds[1], speeds[2], strict=True))
    figures = {f"samples_per_s_{n}": round(statistics.median(values), 1) for n, values in speeds.items()}
    record("two ranks against one process", {**figures, "two_over_one": round(ratio, 3)})
    assert ratio >= 0.93


def _speed(run: Run) -> float:
    """Samples per second between the ends of the epochs, without the first one, which builds the graph."""
    while run.status().state.is_active:
        time.sleep(0.5)
    assert run.status().state == "done", run.status().reason
    ends = [record["elapsed_s"] for record in run.progress()[0] if "val_loss" in record]
    samples = run.progress()[0][-1]["steps"] * 16
    return samples / statistics.median(after - before for before, after in pairwise(ends[1:]))
