"""Processes that train together; the one place that imports Horovod for training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from horovod.common.exceptions import HorovodInternalError

from engine.errors import RanksLostError
from engine.training import elastic


@dataclass(frozen=True)
class Workers:
    """This process, `rank` of the `size` that train together. With size 1 nothing is communicated.

    local_size : number of them on this machine.
    round : number of times that ranks were lost; first_rank : rank of this process before the first loss.
    """

    rank: int
    size: int
    local_size: int = 1
    round: int = 0
    first_rank: int = 0

    @property
    def chief(self) -> bool:
        return self.rank == 0

    def allreduce_mean(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Average each tensor over the ranks; inside a graph."""
        if self.size == 1:
            return list(tensors)
        return hvd.grouped_allreduce(list(tensors), op=hvd.Average)

    def allreduce_array(self, values: np.ndarray) -> np.ndarray:
        """Average a float64 array over the ranks."""
        if self.size == 1:
            return values
        return hvd.allreduce(tf.constant(values, tf.float64), op=hvd.Average, name="array").numpy()

    def broadcast_integers(self, values: Sequence[int]) -> list[int]:
        """Send rank 0's integers to every rank."""
        if self.size == 1:
            return list(values)
        return hvd.broadcast(tf.constant(values, tf.int64), root_rank=0, name="integers").numpy().tolist()

    def allgather_array(self, values: np.ndarray) -> np.ndarray:
        """Send each rank's float32 numbers (n,) to every rank: (rank, n)."""
        if self.size == 1:
            return values[None]
        return hvd.allgather(tf.constant(values[None], tf.float32), name="gathered").numpy()

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Send rank 0's bytes to every rank."""
        if self.size == 1:
            return content
        (length,) = self.broadcast_integers([len(content)])
        mine = np.frombuffer(content, np.uint8) if self.chief else np.zeros(length, np.uint8)
        return hvd.broadcast(tf.constant(mine), root_rank=0, name="bytes").numpy().tobytes()

    def broadcast_variables(self, variables: Sequence[tf.Variable]) -> None:
        """Set variables to rank 0's values, on every rank."""
        if self.size > 1:
            hvd.broadcast_variables(list(variables), root_rank=0)


def join() -> Workers:
    """Join the processes that the launcher started, and take this rank's GPU, if there is one."""
    first_rank = int(os.environ.get("HOROVOD_RANK", 0))
    workers = _enter(0, first_rank)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
    return workers


def rejoin(workers: Workers) -> Workers:
    """Leave the ranks of a round, of which some are lost, and join those that are left."""
    hvd.shutdown()
    return _enter(workers.round + 1, workers.first_rank)


@contextmanager
def detect_lost_ranks() -> Iterator[None]:
    """Raise RanksLostError where ranks no longer reach each other, if training may go on with those that are left."""
    try:
        yield
    except (HorovodInternalError, tf.errors.UnknownError) as error:
        if not elastic.kept() or "orovod" not in f"{type(error).__name__} {error}":
            raise
        raise RanksLostError("some ranks give no more sign of life") from None


def _enter(number: int, first_rank: int) -> Workers:
    if elastic.kept():
        elastic.meet(number, first_rank)
    hvd.init()
    return Workers(hvd.rank(), hvd.size(), hvd.local_size(), number, first_rank)
