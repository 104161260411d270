"""The loop around the training step: epochs, validation, early stopping, checkpoints, progress; for any learning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from engine.data.samples import Shuffle
from engine.errors import DivergedError
from engine.spec import TrainingOptions
from engine.training import checkpoints
from engine.training.averaging import statistics
from engine.training.feed import Feed
from engine.training.memory_budget import Pieces
from engine.training.supervised import Step
from engine.training.workers import Workers

CHUNK_S = 1.0  # so long one call of the step's graph runs before Python looks up
CHECKPOINT_S = 5.0  # between checkpoints: at most this much work, and an epoch, is lost to a kill
FIRST_CHUNK = 8
LAST, BEST = "last.npz", "best.npz"

Report = Callable[[dict[str, Any]], None]


class StopRequest(Protocol):
    """Tells whether to stop, and afterwards why."""

    reason: str

    def __call__(self) -> bool: ...


@dataclass
class Position:
    """Where a training stands: with weights, optimizer and the plan of the epoch, all that a resume needs."""

    epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    elapsed_s: float = 0.0
    seq: int = 0
    steps: int = 0  # of an epoch


@dataclass
class Training:
    """One training: its step, its data, its folder of checkpoints, and where it stands."""

    step: Step
    train: Feed
    validation: Feed
    shuffle: Shuffle
    options: TrainingOptions
    workers: Workers
    folder: Path
    report: Report
    stop: StopRequest
    position: Position = field(default_factory=Position)
    best_weights: dict[str, np.ndarray] = field(default_factory=dict)
    _each_statistics: np.ndarray | None = None  # (rank, number)
    _losses: dict[str, float] = field(default_factory=lambda: {"loss": math.nan})
    _pace: Pace = field(default_factory=lambda: Pace())
    _saved_at: float = field(default_factory=time.monotonic)
    _counted_at: float = 0.0

    def run(self) -> bool:
        """Train to the end, or until asked to stop; returns whether it came to its end.

        At the end the network has its best weights. Checkpoints hold the best and the last.
        """
        self._counted_at = time.monotonic()
        self._align_ranks()
        batches = iter(self.train.stream(self._plans, self.shuffle.patch_lr))
        while self.position.epoch < self.options.epochs and not self._patience_is_over():
            if not self._epoch(batches):
                self._save(self._gather_statistics())
                return False
        self._save()
        checkpoints.restore(self.step.network.variables, self.best_weights, self.folder / BEST)
        return True

    def resume(self) -> bool:
        """Take up the last checkpoint, if there is one."""
        path = self.folder / LAST
        if not path.exists():
            return False
        groups, state = checkpoints.load(path)
        for name, variables in self.step.groups.items():
            checkpoints.restore(variables, groups.get(name, {}), path)
        self.position = Position(**{**state, "best": math.inf if state["best"] is None else state["best"]})
        self.best_weights = groups.get("best", {})
        self._each_statistics = groups.get("ranks", {}).get("statistics")
        self._divide_anew()
        return True

    def _divide_anew(self) -> None:
        """With more or fewer ranks an epoch has other steps: stand at the same part of it, or a little before."""
        position, steps = self.position, self.shuffle.steps
        if position.steps and position.steps != steps:
            position.step = position.step * steps // position.steps
            for optimizer in self.step.optimizers:
                optimizer.iterations.assign(position.epoch * steps + position.step)

    def _plans(self) -> Iterator[np.ndarray]:
        """Which samples each step takes, epoch by epoch from where the training stands to its end."""
        for epoch in range(self.position.epoch, self.options.epochs):
            yield self.shuffle.epoch(epoch)[self.position.step if epoch == self.position.epoch else 0 :]

    def _epoch(self, batches: Iterator[tuple[tf.Tensor, ...]]) -> bool:
        """What is left of the epoch; returns False if asked to stop within."""
        position, steps = self.position, self.shuffle.steps
        while position.step < steps:
            wanted = min(self._pace.chunk(), steps - position.step)
            chunk, stop = self.workers.broadcast_integers([wanted, int(self.stop())])
            if stop:
                return False
            self._steps(batches, chunk)
        position.epoch, position.step = position.epoch + 1, 0
        self._close_epoch()
        return True

    def _steps(self, batches: Iterator[tuple[tf.Tensor, ...]], chunk: int) -> None:
        began = time.monotonic()
        losses = self.step.run(batches, tf.constant(chunk)).numpy().tolist()
        self._losses = dict(zip(self.step.losses, losses, strict=True))
        self._pace.took(time.monotonic() - began, chunk)
        self.position.step += chunk
        for name, loss in self._losses.items():
            self._check_number(f"the {' '.join(reversed(name.split('_')))}", loss, self.position.epoch + 1)
        if self.position.step < self.shuffle.steps:
            self._tell()

    def _close_epoch(self) -> None:
        """Validate, keep the best weights, tell, and save now and then."""
        position = self.position
        self._average_statistics()
        with self.step.average.in_place():
            val_loss, val_rmse = self._validate()
            self._check_number("the validation loss", val_loss, position.epoch)
            if val_loss < position.best - self.options.min_delta:
                position.best, position.best_epoch, position.waited = val_loss, position.epoch, 0
                self.best_weights = checkpoints.arrays_of(self.step.network.variables)
            else:
                position.waited += 1
        self._tell(val_loss=val_loss, val_rmse=val_rmse)
        if time.monotonic() - self._saved_at > CHECKPOINT_S:
            self._save()

    def _check_number(self, name: str, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"{name} is {loss} in epoch {epoch}: lower training.learning_rate "
                f"(now {self.options.learning_rate:g}), or look for values in the data that can't be"
            )

    def _validate(self) -> tuple[float, float]:
        """Loss, and RMSE in the target's unit, over the validation part; each rank takes its share."""
        steps = tf.constant(self._pieces.steps(len(self._validation_rows)))
        sums = self.step.validate(iter(self._validation_stream), steps).numpy()
        loss, weight, squares, cells = self.workers.allreduce_array(sums)
        return float(loss / max(weight, 1e-6)), float(np.sqrt(squares / max(cells, 1e-6)))

    @cached_property
    def _validation_rows(self) -> np.ndarray:
        return np.arange(self.workers.rank, len(self.validation.samples), self.workers.size, dtype=np.int32)

    @cached_property
    def _pieces(self) -> Pieces:
        pairs, shuffle = self.validation.samples.pairs, self.shuffle
        return Pieces.of(pairs.lr_grid.shape, pairs.scale, shuffle.patch_lr, shuffle.batch_size)

    @cached_property
    def _validation_stream(self) -> tf.data.Dataset:
        plan, at_once = np.pad(self._validation_rows[:, None], ((0, 0), (0, 2))), self._pieces.at_once
        starts = range(0, len(plan), at_once)
        stream = self.validation.stream(lambda: (plan[None, k : k + at_once] for k in starts))
        return self.validation.cut(stream, self._pieces) if self._pieces.corners else stream

    def _patience_is_over(self) -> bool:
        return self.options.early_stopping and self.position.waited >= self.options.patience

    def _tell(self, **validation: float) -> None:
        """One progress record, from rank 0."""
        position, options = self.position, self.options
        position.seq += 1
        self._count_time()
        done = position.epoch * self.shuffle.steps + position.step
        left = options.epochs * self.shuffle.steps - done
        s_per_step = self._pace.s_per_step or 0.0
        samples = options.batch_size * self.workers.size
        record = {
            "seq": position.seq,
            "time": time.time(),
            "epoch": position.epoch if validation else position.epoch + 1,
            "epochs": options.epochs,
            "step": position.step or self.shuffle.steps,
            "steps": self.shuffle.steps,
            **self._losses,
            **validation,
            "samples_per_s": samples / s_per_step if s_per_step else None,
            "learning_rate": float(self.step.optimizer.learning_rate),
            "elapsed_s": position.elapsed_s,
            "eta_s": left * s_per_step if s_per_step else None,
        }
        if self.workers.chief:
            self.report(record)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.position.elapsed_s += now - self._counted_at
        self._counted_at = now

    def _save(self, each_statistics: np.ndarray | None = None) -> None:
        """The last checkpoint with everything a resume needs, and the best weights on their own.

        Within an epoch, the ranks differ by their running statistics: these are given for each.
        """
        self._count_time()
        self._saved_at = time.monotonic()
        if not self.workers.chief:
            return
        self.position.steps = self.shuffle.steps
        state = {**asdict(self.position), "best": self.position.best if math.isfinite(self.position.best) else None}
        groups = {name: checkpoints.arrays_of(variables) for name, variables in self.step.groups.items()}
        ranks = {} if each_statistics is None else {"ranks": {"statistics": each_statistics}}
        checkpoints.save(self.folder / LAST, {**groups, **ranks, "best": self.best_weights}, state)
        if self.best_weights:
            checkpoints.save(self.folder / BEST, {"weights": self.best_weights}, state)

    def _align_ranks(self) -> None:
        """Every rank begins with rank 0's weights, optimizer and random state.

        Of the running statistics, it has its own if the training was stopped within an epoch: their mean if there were
        more ranks then, or fewer.
        """
        self.workers.broadcast_variables([variable.value for group in self.step.groups.values() for variable in group])
        if (each := self._each_statistics) is not None:
            self._set_statistics(each[self.workers.rank] if len(each) == self.workers.size else each.mean(axis=0))

    def _average_statistics(self) -> None:
        """Running statistics of batch normalisation see each rank's samples: take their mean."""
        for variable in self._statistics:
            variable.assign(self.workers.allreduce_array(variable.numpy().astype(np.float64)).astype(np.float32))

    def _gather_statistics(self) -> np.ndarray | None:
        """Each rank's running statistics, (rank, number), or None where there are none to tell apart."""
        if self.workers.size == 1 or not self._statistics:
            return None
        return self.workers.allgather_array(
            np.concatenate([np.ravel(variable.numpy()) for variable in self._statistics])
        )

    def _set_statistics(self, values: np.ndarray) -> None:
        """As `_gather_statistics` has them, of one rank."""
        sizes = [int(np.prod(variable.shape)) for variable in self._statistics]
        parts = np.split(values, np.cumsum(sizes)[:-1])
        for variable, part in zip(self._statistics, parts, strict=True):
            variable.assign(part.reshape(tuple(variable.shape)))

    @cached_property
    def _statistics(self) -> list[Any]:
        """What batch normalisation keeps of the samples, and its moving average."""
        return [*statistics(self.step.network), *self.step.average.averaged_statistics]


@dataclass
class Pace:
    """How long the steps take; the first chunk, which builds the graph, doesn't count as throughput."""

    s_per_step: float | None = None
    _chunks: int = 0
    _rough_s: float = 0.0

    def chunk(self) -> int:
        """Steps that take about CHUNK_S."""
        pace = self.s_per_step or self._rough_s
        return max(1, round(CHUNK_S / pace)) if pace else FIRST_CHUNK

    def took(self, seconds: float, steps: int) -> None:
        self._rough_s = seconds / steps
        if self._chunks:
            self.s_per_step = self._rough_s
        self._chunks += 1
