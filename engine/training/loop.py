"""The loop around the training step: epochs, validation, early stopping, checkpoints, progress; for any learning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import tensorflow as tf

from engine.data.samples import Shuffle
from engine.errors import DivergedError
from engine.spec import TrainingOptions
from engine.training.checkpoints import ResumeState, TrainingCheckpoints, arrays_of, restore
from engine.training.feed import Feed
from engine.training.position import Position
from engine.training.progress import ProgressRecord
from engine.training.running_statistics import RunningStatistics
from engine.training.supervised import Step
from engine.training.validation import Validation
from engine.training.workers import Workers

CHUNK_S = 1.0  # duration of one call of the step's graph, after which stop requests are looked for
FIRST_CHUNK = 8  # steps


class StopRequest(Protocol):
    """True when called if the training shall stop; `reason` is then the reason."""

    reason: str

    def __call__(self) -> bool: ...


@dataclass
class Training:
    """One training: its step, its data, its checkpoints, and its position."""

    step: Step
    train: Feed
    validation: Validation
    shuffle: Shuffle
    options: TrainingOptions
    workers: Workers
    checkpoints: TrainingCheckpoints
    report: Callable[[ProgressRecord], None]
    stop: StopRequest
    position: Position = field(default_factory=Position)
    best_weights: dict[str, np.ndarray] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=lambda: {"loss": math.nan})  # means over the last steps
    _statistics_of_ranks: np.ndarray | None = None  # (rank, number), of a checkpoint within an epoch
    _pace: Pace = field(default_factory=lambda: Pace())
    _counted_at: float = 0.0

    def run(self) -> bool:
        """Train to the end, or until asked to stop; returns whether it came to its end.

        At the end the network has its best weights. Checkpoints hold the best and the last.
        """
        self._counted_at = time.monotonic()
        statistics = RunningStatistics.of(self.step, self.workers)
        self.workers.broadcast_variables([variable.value for group in self.step.groups.values() for variable in group])
        if self._statistics_of_ranks is not None:
            statistics.restore(self._statistics_of_ranks)
        batches = iter(self.train.stream(self.plans, self.shuffle.patch_lr))
        while not self.position.is_at_end(self.options):
            if not self._train_epoch(batches):
                self.save(statistics.gather())
                return False
            statistics.average()
            self._validate()
            if self.checkpoints.is_due:
                self.save()
        self.save()
        restore(self.step.network.variables, self.best_weights, self.checkpoints.best)
        return True

    def resume(self) -> bool:
        """Continue from the last checkpoint; returns False if there is none."""
        state = self.checkpoints.load()
        if state is None:
            return False
        for name, variables in self.step.groups.items():
            restore(variables, state.groups.get(name, {}), self.checkpoints.last)
        self.position, self.best_weights = Position.from_state(state.position), state.best_weights
        self._statistics_of_ranks = state.statistics_of_ranks
        if self.position.adapt_to(self.shuffle.steps):
            for optimizer in self.step.optimizers:
                optimizer.iterations.assign(self.position.epoch * self.shuffle.steps + self.position.step)
        return True

    def plans(self) -> Iterator[np.ndarray]:
        """Samples of each step, epoch by epoch from the position to the end."""
        for epoch in range(self.position.epoch, self.options.epochs):
            yield self.shuffle.epoch(epoch)[self.position.step if epoch == self.position.epoch else 0 :]

    def save(self, statistics_of_ranks: np.ndarray | None = None) -> None:
        """Write the last checkpoint with everything a resume needs, and the best weights on their own.

        statistics_of_ranks : (rank, number), within an epoch, where ranks differ by their running statistics.
        """
        self._count_time()
        if not self.workers.chief:
            return
        self.position.steps = self.shuffle.steps
        groups = {name: arrays_of(variables) for name, variables in self.step.groups.items()}
        self.checkpoints.save(ResumeState(groups, self.position.state(), self.best_weights, statistics_of_ranks))

    def _train_epoch(self, batches: Iterator[tuple[tf.Tensor, ...]]) -> bool:
        """Take the remaining steps of the epoch; returns False if asked to stop within."""
        position, steps = self.position, self.shuffle.steps
        while position.step < steps:
            wanted = min(self._pace.chunk(), steps - position.step)
            chunk, stop = self.workers.broadcast_integers([wanted, int(self.stop())])
            if stop:
                return False
            began = time.monotonic()
            losses = self.step.run(batches, tf.constant(chunk)).numpy().tolist()
            self.losses = dict(zip(self.step.losses, losses, strict=True))
            self._pace.record(time.monotonic() - began, chunk)
            position.step += chunk
            for name, loss in self.losses.items():
                _check_finite(f"the {' '.join(reversed(name.split('_')))}", loss, position.epoch + 1, self.options)
            if position.step < steps:
                self._report()
        position.epoch, position.step = position.epoch + 1, 0
        return True

    def _validate(self) -> None:
        """Validate the averaged weights after an epoch, keep them if they are the best, and report."""
        with self.step.average.in_place():
            val_loss, val_rmse = self.validation.measure()
            _check_finite("the validation loss", val_loss, self.position.epoch, self.options)
            if self.position.take_validation(val_loss, self.options.min_delta):
                self.best_weights = arrays_of(self.step.network.variables)
        self._report(val_loss, val_rmse)

    def _report(self, val_loss: float | None = None, val_rmse: float | None = None) -> None:
        """Report one progress record, from rank 0."""
        position, options, steps = self.position, self.options, self.shuffle.steps
        position.seq += 1
        self._count_time()
        left = options.epochs * steps - position.epoch * steps - position.step
        s_per_step = self._pace.s_per_step or 0.0
        record = ProgressRecord(
            seq=position.seq,
            time=time.time(),
            epoch=position.epoch if val_loss is not None else position.epoch + 1,
            epochs=options.epochs,
            step=position.step or steps,
            steps=steps,
            loss=self.losses["loss"],
            loss_adversarial=self.losses.get("loss_adversarial"),
            loss_discriminator=self.losses.get("loss_discriminator"),
            val_loss=val_loss,
            val_rmse=val_rmse,
            samples_per_s=options.batch_size * self.workers.size / s_per_step if s_per_step else None,
            learning_rate=float(self.step.optimizer.learning_rate),
            elapsed_s=position.elapsed_s,
            eta_s=left * s_per_step if s_per_step else None,
        )
        if self.workers.chief:
            self.report(record)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.position.elapsed_s += now - self._counted_at
        self._counted_at = now


@dataclass
class Pace:
    """Duration of a step; the first chunk, which builds the graph, doesn't count as throughput."""

    s_per_step: float | None = None
    _chunks: int = 0
    _rough_s: float = 0.0

    def chunk(self) -> int:
        """Steps that take about CHUNK_S."""
        pace = self.s_per_step or self._rough_s
        return max(1, round(CHUNK_S / pace)) if pace else FIRST_CHUNK

    def record(self, seconds: float, steps: int) -> None:
        """Count a chunk of steps."""
        self._rough_s = seconds / steps
        if self._chunks:
            self.s_per_step = self._rough_s
        self._chunks += 1


def _check_finite(name: str, loss: float, epoch: int, options: TrainingOptions) -> None:
    """Raise DivergedError if a loss is no number."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"{name} is {loss} in epoch {epoch}",
            action=f"lower training.learning_rate (now {options.learning_rate:g}), or look for values in the "
            "data that can't be",
        )
