"""The story of one run, as each rank lives it."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from engine.data.netcdf import open_netcdf
from engine.data.normalizer import Normalizer, fit_normalizer, load_hr_template
from engine.data.pairs import Pairs, pair, pair_for_downscaling
from engine.data.samples import Samples, Shuffle
from engine.errors import RanksLostError, RunError
from engine.evaluation.predict import Downscaler, write_downscaled, write_results
from engine.evaluation.scores import constraint_violation, score
from engine.files import append_line, read_json, to_json, write_whole
from engine.models.compatibility import check_field
from engine.models.discriminator import build_discriminator
from engine.models.network import Output, build
from engine.models.shapes import Shape, outputs_of, training_bytes
from engine.runs import Heartbeat, Run, Store
from engine.spec import Spec
from engine.training import checkpoints
from engine.training.adversarial import AdversarialStep
from engine.training.feed import Feed
from engine.training.loop import Training
from engine.training.supervised import Step
from engine.training.validation import Validation
from engine.training.workers import Workers, detect_lost_ranks, join, rejoin


def work(run: Run) -> None:
    """Train, evaluate, and mark the run as done; or stop before, when asked to."""
    workers = join()
    with Heartbeat(run, workers.rank, workers.size) as heartbeat:
        heartbeat.phase("reading")
        pairs = pair(run.spec.data)
        training, finished = _trained(run, workers, heartbeat, pairs)
        if not finished:
            _say(f"stopped in epoch {training.position.epoch + 1}: {training.stop.reason}; resume continues from here")
            heartbeat.end("stopped", reason=training.stop.reason)
            return
        network = training.step.network
        if training.workers.chief:
            _evaluate(run, heartbeat, network, pairs, Normalizer.load(run.normalizer_file))
            run.write_manifest()
            write_whole(run.folder / "DONE", to_json({"time": time.time()}))
        heartbeat.end("done", weights=checkpoints.fingerprint(network.trainable_variables))


def downscale(run: Run, data: str, path: Path) -> tuple[str, ...]:
    """Apply the best weights of a run to new LR data, and write the result; returns notes on what was done.

    Raises
    ------
    RunError
        If the run has no trained weights yet.
    DataError
        If the new data don't fit the run.
    """
    _check_trained(run)
    normalizer, pairs = (
        Normalizer.load(run.normalizer_file),
        pair_for_downscaling(run.spec.data, load_hr_template(run.normalizer_file), data),
    )
    network = _network(run.spec, pairs, normalizer)
    _take_weights(network, run)
    samples = Samples.of(run.spec, pairs, normalizer, pairs.parts.test)
    downscaler = Downscaler.of(network, run.spec.model, samples)
    write_downscaled(path, downscaler, samples, f"{run.title}, downscaled by run {run.id}")
    return pairs.notes


def _trained(run: Run, workers: Workers, heartbeat: Heartbeat, pairs: Pairs) -> tuple[Training, bool]:
    """The training, and whether it came to its end; ranks that are lost on the way may be done without."""
    while True:
        try:
            with detect_lost_ranks():
                return _train(run, workers, heartbeat, pairs)
        except RanksLostError as loss:
            _say(f"{loss}: waiting for those that are left")
            heartbeat.phase("waiting for the ranks that are left")
        workers = rejoin(workers)
        _say(f"rank {workers.first_rank} goes on as rank {workers.rank} of {workers.size}")


def _train(run: Run, workers: Workers, heartbeat: Heartbeat, pairs: Pairs) -> tuple[Training, bool]:
    if workers.chief:
        run.clear_remains()
    _set_up(run.spec)
    normalizer = _normalizer(run, workers, pairs)
    network = _network(run.spec, pairs, normalizer)
    training = _training(run, workers, network, pairs, normalizer)
    left = "" if not workers.round else f" with {workers.size} of {run.spec.launch.processes} processes"
    heartbeat.phase(f"training{left}")
    return training, training.run()


def _set_up(spec: Spec) -> None:
    """Seeds and number formats; the same operations in the same order give the same weights."""
    keras.backend.clear_session()  # layers have the same names whenever they are made
    keras.utils.set_random_seed(spec.training.seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(spec.training.precision)


def _normalizer(run: Run, workers: Workers, pairs: Pairs) -> Normalizer:
    """Fitted once, by rank 0, which tells the others what it found; a resumed run goes on with what it had."""
    if workers.chief and not run.normalizer_file.exists():
        _fitted(run, pairs).save(run.normalizer_file, pairs)
    told = workers.broadcast_bytes(run.normalizer_file.read_bytes() if workers.chief else b"")
    with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        file.write(told)
        file.flush()
        return Normalizer.load(Path(file.name))


def _fitted(run: Run, pairs: Pairs) -> Normalizer:
    """As the training part wants it.

    A run that starts from another's weights has a normalizer of its own, so that its fields, of another region, say,
    are about as large as those that the network knows.
    """
    fitted = fit_normalizer(pairs, run.spec.data.scaling)
    if start := Store(run.folder.parent).start_run(run.spec):  # its network has the channel that tells gaps, or hasn't
        return replace(fitted, lr_has_gaps=Normalizer.load(start.normalizer_file).lr_has_gaps)
    return fitted


def _network(spec: Spec, pairs: Pairs, normalizer: Normalizer) -> keras.Model:
    check_field(spec, pairs, normalizer.hr_min)
    return build(spec.model, _shape(spec, pairs, normalizer), Output.of(spec.model, normalizer, pairs.interpolation))


def _shape(spec: Spec, pairs: Pairs, normalizer: Normalizer) -> Shape:
    return Shape.of(Samples.of(spec, pairs, normalizer, pairs.parts.train), outputs_of(spec.training.loss))


def _step(
    spec: Spec, workers: Workers, network: keras.Model, pairs: Pairs, normalizer: Normalizer, steps_per_epoch: int
) -> Step:
    """What `training.learning` says."""
    steps = steps_per_epoch * spec.training.epochs
    if spec.training.learning == "supervised":
        return Step(network, spec.training, steps, workers, normalizer)
    output = Output.of(spec.model, normalizer, pairs.interpolation)
    discriminator = build_discriminator(_shape(spec, pairs, normalizer), output)
    return AdversarialStep(network, discriminator, spec.training, steps, workers, normalizer)


def _training(run: Run, workers: Workers, network: keras.Model, pairs: Pairs, normalizer: Normalizer) -> Training:
    """Ready to run: from the last checkpoint if there is one, else from another run's weights, else anew."""
    spec, folder = run.spec, run.folder / "checkpoints"
    reserved = training_bytes(spec, _shape(spec, pairs, normalizer))
    train, validation = (
        Feed.of(Samples.of(spec, pairs, normalizer, part), workers.local_size, reserved)
        for part in (pairs.parts.train, pairs.parts.validation)
    )
    shuffle = Shuffle.of(spec, len(train.samples), pairs.lr_grid.shape, workers.rank, workers.size)
    step = _step(spec, workers, network, pairs, normalizer, shuffle.steps)
    training = Training(
        step=step,
        train=train,
        validation=Validation(step, validation, shuffle, workers),
        shuffle=shuffle,
        options=spec.training,
        workers=workers,
        folder=folder,
        report=lambda record: append_line(run.folder / "progress.jsonl", record.plain()),
        stop=StopRequest.of(run),
    )
    if training.resume():
        _say(f"resumed in epoch {training.position.epoch + 1} after step {training.position.step}")
    elif start := Store(run.folder.parent).start_run(spec):
        groups, _ = checkpoints.load(start.best)
        checkpoints.import_checkpoint(network.variables, groups["weights"], start.best, optional="localized")
    _say(f"{len(train.samples)} training samples, {'in memory' if train.in_memory else 'read ahead from the files'}")
    return training


def _take_weights(network: keras.Model, run: Run) -> None:
    _check_trained(run)
    groups, _ = checkpoints.load(run.best)
    checkpoints.restore(network.variables, groups["weights"], run.best)


def _check_trained(run: Run) -> None:
    if not run.best.exists():
        raise RunError(f"run {run.id} has no trained weights yet: let it train, or give another run")


def _evaluate(run: Run, heartbeat: Heartbeat, network: keras.Model, pairs: Pairs, normalizer: Normalizer) -> None:
    """Downscale the test part and score it."""
    samples = Samples.of(run.spec, pairs.for_evaluation(), normalizer, pairs.parts.test)
    downscaler = Downscaler.of(network, run.spec.model, samples)
    title = f"{run.title}: test part of run {run.id}"

    def told(done: int, total: int) -> None:
        heartbeat.phase(f"downscaling {done} of {total}")

    told(0, len(samples))
    write_results(run.results, downscaler, samples, told, title)
    heartbeat.phase("scoring")
    with open_netcdf(run.results) as results:
        scores = score(results)
        if samples.constrained:
            violation = constraint_violation(results, pairs.hr_grid.cell_areas(), pairs.scale)
            scores = replace(scores, constraint=violation)
            _say(
                f"{run.spec.model.constraint} constraint: off by at most {violation.max_violation:.2g} {violation.unit}"
            )
    write_whole(run.folder / "results" / "scores.json", to_json(scores.to_plain()))


@dataclass
class StopRequest:
    """Whether the run has been asked to stop or pause, or its time is up; and why."""

    run: Run
    deadline: float
    reason: str = ""

    @classmethod
    def of(cls, run: Run) -> StopRequest:
        minutes = 0 if "SLURM_JOB_ID" in os.environ else run.spec.launch.time_limit  # there, Slurm's signal pauses it
        return cls(run, time.monotonic() + 60 * minutes if minutes else math.inf)

    def __call__(self) -> bool:
        if self.run.cancel_file.exists():
            self.reason = "cancelled"
        elif self.run.pause_file.exists():
            self.reason = read_json(self.run.pause_file).get("reason", "paused")
        elif time.monotonic() > self.deadline:
            self.reason = f"the time limit of {self.run.spec.launch.time_limit} min was reached"
        return bool(self.reason)


def _say(line: str) -> None:
    """A line for the log."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
