"""The story of one run, as each rank lives it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples, Shuffle
from engine.data.scaling import Scaling, fit_scaling
from engine.errors import RunError
from engine.evaluation.predict import Downscaler, write_downscaled, write_results
from engine.evaluation.scores import score
from engine.files import append_line, to_json, write_whole
from engine.heartbeat import Heartbeat
from engine.models.network import Output, bound_of, build
from engine.models.shapes import Shape
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import checkpoints
from engine.training.feed import Feed
from engine.training.supervised import BEST, Step, Training
from engine.training.workers import Workers, join

SCALING = "scaling.nc"


def work(run: Run) -> bool:
    """Train, evaluate, and mark the run as done; returns False if it was asked to stop before the end."""
    workers, spec = join(), run.spec
    with Heartbeat(run.folder / "status", workers.rank, workers.size) as heartbeat:
        heartbeat.phase("reading")
        _set_up(spec)
        pairs = pair(spec.data)
        scaling = _scaling(run, pairs)
        heartbeat.phase("training")
        network = _network(spec, pairs, scaling)
        if not _train(run, workers, heartbeat, network, pairs, scaling):
            return False
        heartbeat.end(weights=checkpoints.fingerprint(network.trainable_variables))
        if workers.chief:
            _evaluate(run, heartbeat, network, pairs, scaling)
            run.write_manifest()
            write_whole(run.folder / "DONE", to_json({"time": time.time()}))
    return True


def downscale(run: Run, pairs: Pairs, path: Path) -> None:
    """Apply the best weights of a run to new data, paired without HR."""
    scaling = Scaling.load(run.folder / "checkpoints" / SCALING)
    network = _network(run.spec, pairs, scaling)
    _take_weights(network, run)
    samples = Samples(pairs, scaling, run.spec.data, pairs.parts.test)
    downscaler = Downscaler(network, bound_of(run.spec.model, scaling))
    write_downscaled(path, downscaler, samples, lambda done, total: None, f"{run.title}, downscaled by run {run.id}")


def _set_up(spec: Spec) -> None:
    """Seeds and number formats; the same operations in the same order give the same weights."""
    keras.utils.set_random_seed(spec.training.seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(spec.training.precision)


def _scaling(run: Run, pairs: Pairs) -> Scaling:
    """Fitted once: every rank finds the same, and a resumed run goes on with what it had."""
    path = run.folder / "checkpoints" / SCALING
    if path.exists():
        return Scaling.load(path)
    return fit_scaling(pairs, run.spec.data.scaling)


def _network(spec: Spec, pairs: Pairs, scaling: Scaling) -> keras.Model:
    channels = Samples(pairs, scaling, spec.data, pairs.parts.train).channels
    shape = Shape(*pairs.lr_grid.shape, channels, len(pairs.static), pairs.scale)
    return build(spec.model, shape, Output.of(spec.model, scaling, pairs.interpolation))


def _train(
    run: Run, workers: Workers, heartbeat: Heartbeat, network: keras.Model, pairs: Pairs, scaling: Scaling
) -> bool:
    data, options = run.spec.data, run.spec.training
    parts = [Samples(pairs, scaling, data, part) for part in (pairs.parts.train, pairs.parts.validation)]
    train, validation = (Feed.of(part, workers.size) for part in parts)
    patch_lr = data.patch_size // data.scale
    shuffle = Shuffle(
        len(train.samples), pairs.lr_grid.shape, patch_lr, options.batch_size, options.seed, workers.rank, workers.size
    )
    step = Step(network, options, shuffle.steps * options.epochs, workers, scaling.target)
    training = Training(
        step=step,
        train=train,
        validation=validation,
        shuffle=shuffle,
        options=options,
        workers=workers,
        folder=run.folder / "checkpoints",
        report=lambda record: append_line(run.folder / "progress.jsonl", record),
        stop=_Stop(run),
    )
    if training.resume():
        _say(f"resumed at epoch {training.position.epoch + 1}, step {training.position.step}")
    elif options.start_from:
        _take_weights(network, Store(run.folder.parent).run(options.start_from))
    if workers.chief and not (run.folder / "checkpoints" / SCALING).exists():
        scaling.save(run.folder / "checkpoints" / SCALING)
    _say(f"{len(train.samples)} training samples {'in memory' if train.in_memory else 'read ahead from the files'}")
    return training.run()


def _take_weights(network: keras.Model, run: Run) -> None:
    path = run.folder / "checkpoints" / BEST
    if not path.exists():
        raise RunError(f"run {run.id} has no trained weights yet: let it train, or give another run")
    groups, _ = checkpoints.load(path)
    checkpoints.restore(network.variables, groups["weights"], path)


def _evaluate(run: Run, heartbeat: Heartbeat, network: keras.Model, pairs: Pairs, scaling: Scaling) -> None:
    """Downscale the test part and score it."""
    import xarray as xr

    samples = Samples(pairs, scaling, run.spec.data, pairs.parts.test)
    downscaler = Downscaler(network, bound_of(run.spec.model, scaling))
    title = f"{run.title}: test part of run {run.id}"
    heartbeat.phase("downscaling the test part")
    write_results(run.results, downscaler, samples, lambda done, total: heartbeat.phase(f"downscaling {done}/{total}"), title)
    heartbeat.phase("scoring")
    with xr.open_dataset(run.results) as results:
        write_whole(run.folder / "results" / "scores.json", to_json(score(results)))


@dataclass(frozen=True)
class _Stop:
    """Whether the run has been asked to stop, or its time is up."""

    run: Run

    def __call__(self) -> bool:
        return self.run.cancel_file.exists()


def _say(line: str) -> None:
    """A line for the log."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
