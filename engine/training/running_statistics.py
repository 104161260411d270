"""Running statistics of batch normalisation, which within an epoch differ between ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.training.averaging import statistics
from engine.training.supervised import Step
from engine.training.workers import Workers


@dataclass(frozen=True)
class RunningStatistics:
    """Running statistics of a network, and their moving averages: each rank's come from its own samples."""

    variables: list[Any]
    workers: Workers

    @classmethod
    def of(cls, step: Step, workers: Workers) -> RunningStatistics:
        return cls([*statistics(step.trained), *step.average.averaged_statistics], workers)

    def average(self) -> None:
        """Give every rank the mean over the ranks."""
        for variable in self.variables:
            variable.assign(self.workers.allreduce_array(variable.numpy().astype(np.float64)).astype(np.float32))

    def gather(self) -> np.ndarray | None:
        """Collect the values of each rank: (rank, number), or None where all ranks have the same."""
        if self.workers.size == 1 or not self.variables:
            return None
        values = np.concatenate([np.ravel(variable.numpy()) for variable in self.variables])
        return self.workers.allgather_array(values)

    def restore(self, each: np.ndarray) -> None:
        """Take this rank's values of (rank, number), or the mean if there were more ranks then, or fewer."""
        values = each[self.workers.rank] if len(each) == self.workers.size else each.mean(axis=0)
        sizes = [int(np.prod(variable.shape)) for variable in self.variables]
        for variable, part in zip(self.variables, np.split(values, np.cumsum(sizes)[:-1]), strict=True):
            variable.assign(part.reshape(tuple(variable.shape)))
