"""The training loop against the bare step: the same graph on one batch that is already in memory."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from engine.data.demo import write_demo
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.benchmarks.record import record

STEPS, ROUNDS = 20, 7

CASES = {
    "whole fields": {},
    "patches": {"data.patch_size=32", "model.localized=false"},
    "time window": {"data.time_window=3"},
    "convnet": {"model.backbone=convnet"},
    "densenet": {"model.backbone=densenet"},
    "convnext": {"model.backbone=convnext"},
    "unet": {"model.backbone=unet", "model.upsampling=pin", "model.n_filters=8"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_loop_against_bare_step(case: str, tmp_path: Path) -> None:
    write_demo(tmp_path, days=30)
    spec = Spec.read(tmp_path / "demo_mos.yaml", CASES[case])
    pairs = pair(spec.data)
    samples = Samples(pairs, fit_normalizer(pairs, spec.data.scaling), spec.data, pairs.parts.train)
    window = (spec.data.time_window, samples.inputs.fields)
    shape = Shape(*pairs.lr_grid.shape, samples.channels, len(pairs.static), pairs.scale, *window)
    network = build(spec.model, shape, Output.of(spec.model, samples.normalizer, pairs.interpolation))
    feed, shuffle = Feed(samples, in_memory=True), Shuffle.of(spec, len(samples), pairs.lr_grid.shape)
    step = Step(network, spec.training, 10_000, Workers(0, 1), samples.normalizer)

    def plans():
        for epoch in range(10_000):
            yield shuffle.epoch(epoch)

    loop = iter(feed.stream(plans, shuffle.patch_lr))
    bare = iter(tf.data.Dataset.from_tensors(next(loop)).repeat())
    speeds: dict[str, list[float]] = {"loop": [], "bare": []}
    for round_ in range(ROUNDS + 1):
        for name, batches in (("loop", loop), ("bare", bare)):
            began = time.perf_counter()
            step.run(batches, tf.constant(STEPS)).numpy()
            if round_:  # the first builds the graph
                speeds[name].append(STEPS * spec.training.batch_size / (time.perf_counter() - began))
    ratio = statistics.median(np.divide(speeds["loop"], speeds["bare"]))
    figures = {f"{name}_samples_per_s": round(statistics.median(values), 1) for name, values in speeds.items()}
    record(f"training loop, {case}", {**figures, "loop_over_bare": round(ratio, 3)})
    assert ratio >= 0.9
