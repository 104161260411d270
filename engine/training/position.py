"""Position of a training: with weights, optimizer and the plan of the epoch, all that a resume needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from engine.spec import TrainingOptions


@dataclass
class Position:
    """Epochs done and steps of the next one, the best epoch so far, and what was counted on the way.

    best : lowest validation loss, of epoch `best_epoch`; waited : epochs without a new one.
    seq : progress records written; steps : of an epoch when the checkpoint was written.
    """

    epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    elapsed_s: float = 0.0
    seq: int = 0
    steps: int = 0

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Read the state of a checkpoint."""
        return cls(**{**state, "best": math.inf if state["best"] is None else state["best"]})

    def state(self) -> dict[str, object]:
        """Fields by name, as JSON can hold them."""
        return {**asdict(self), "best": self.best if math.isfinite(self.best) else None}

    def is_at_end(self, options: TrainingOptions) -> bool:
        """True if all epochs are trained, or early stopping has lost its patience."""
        return self.epoch >= options.epochs or (options.early_stopping and self.waited >= options.patience)

    def take_validation(self, val_loss: float, min_delta: float) -> bool:
        """Count the validation of an epoch; returns whether its loss is the lowest so far."""
        if val_loss < self.best - min_delta:
            self.best, self.best_epoch, self.waited = val_loss, self.epoch, 0
            return True
        self.waited += 1
        return False

    def adapt_to(self, steps: int) -> bool:
        """Move to the same part of an epoch of other steps, or a little before; returns whether it had others.

        More or fewer ranks than before the checkpoint give an epoch fewer or more steps.
        """
        if not self.steps or self.steps == steps:
            return False
        self.step = self.step * steps // self.steps
        return True
