"""Checkpoints of a training, with all that a resume needs; their file: arrays by name, without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import CheckpointError, RequestError
from engine.files import numbered, write_whole

if TYPE_CHECKING:  # reading the position of a checkpoint needs no TensorFlow
    import tensorflow as tf

STATE = "state"
LAST, BEST = "last.npz", "best.npz"  # with all that a resume needs, and with the best weights
CHECKPOINT_S = 5.0  # between checkpoints: at most this much work, and an epoch, is lost to a kill


@dataclass(frozen=True)
class ResumeState:
    """All that a training is resumed from.

    groups : values of the step's variables, by the names of `Step.groups`.
    position : state of a `Position`.
    best_weights : of the network; empty before the first validation.
    statistics_of_ranks : (rank, number), within an epoch, where ranks differ by their running statistics.
    """

    groups: Mapping[str, Mapping[str, np.ndarray]]
    position: Mapping[str, Any]
    best_weights: dict[str, np.ndarray]
    statistics_of_ranks: np.ndarray | None = None


@dataclass
class TrainingCheckpoints:
    """Checkpoints of one network: the last, with all that a resume needs, and the best weights on their own.

    number : of the network in its ensemble, counted from 0.
    """

    folder: Path
    number: int = 0
    interval_s: float = field(default_factory=lambda: checkpoint_interval_s())
    _saved_at: float = field(default_factory=time.monotonic)

    @property
    def last(self) -> Path:
        return self.folder / numbered(LAST, self.number)

    @property
    def best(self) -> Path:
        return self.folder / numbered(BEST, self.number)

    @property
    def is_due(self) -> bool:
        """True if the last save is more than `interval_s` ago."""
        return time.monotonic() - self._saved_at > self.interval_s

    def save(self, state: ResumeState) -> None:
        """Write the last checkpoint, and the best weights if there are any."""
        self._saved_at = time.monotonic()
        ranks = {} if state.statistics_of_ranks is None else {"ranks": {"statistics": state.statistics_of_ranks}}
        save(self.last, {**state.groups, **ranks, "best": state.best_weights}, state.position)
        if state.best_weights:
            save(self.best, {"weights": state.best_weights}, state.position)

    def load(self) -> ResumeState | None:
        """Read the last checkpoint; returns None if there is none."""
        if not self.last.exists():
            return None
        groups, position = load(self.last)
        best, ranks = groups.pop("best", {}), groups.pop("ranks", {})
        return ResumeState(groups, position, best, ranks.get("statistics"))


def checkpoint_interval_s() -> float:
    """Seconds between checkpoints: those of $MESOSCOPE_CHECKPOINT_S, 0 for one each epoch, else CHECKPOINT_S."""
    given = os.environ.get("MESOSCOPE_CHECKPOINT_S", CHECKPOINT_S)
    try:
        return float(given)
    except ValueError:
        raise RequestError(f"MESOSCOPE_CHECKPOINT_S is {given!r}", hint="expected seconds, as 60") from None


def arrays_of(variables: Sequence[Any]) -> dict[str, np.ndarray]:
    """Values of Keras variables by their number and path (paths alone may repeat)."""
    return {f"{number:04d} {variable.path}": variable.numpy() for number, variable in enumerate(variables)}


def save(path: Path, groups: Mapping[str, Mapping[str, np.ndarray]], state: Mapping[str, Any]) -> None:
    """Write groups of arrays and a JSON state; the file appears whole."""
    arrays = {f"{group}/{name}": array for group, named in groups.items() for name, array in named.items()}
    content = io.BytesIO()
    np.savez(content, **{STATE: np.array(json.dumps(state))}, **arrays)  # type: ignore[arg-type]
    write_whole(path, content.getvalue())


def load(path: Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, object]]:
    """Read groups of arrays and the state; raises CheckpointError if the file is damaged."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    try:
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
            state = json.loads(str(file[STATE]))
            for key in file.files:
                group, _, name = key.partition("/")
                if name:
                    groups.setdefault(group, {})[name] = file[key]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged ({error})", action="start the run anew, or give another run"
        ) from None
    return groups, state


def position_of(path: Path) -> tuple[int, int]:
    """Epochs done, and steps of the next one, of the last checkpoint; (0, 0) where there is none that can be read."""
    try:
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
            state = json.loads(str(file[STATE]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return 0, 0
    return state["epoch"], state["step"]


def restore(variables: Sequence[Any], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Give Keras variables the saved values; raises CheckpointError if they don't fit."""
    names = list(arrays_of(variables))
    shapes = [tuple(variable.shape) for variable in variables]
    if [array.shape for array in arrays.values()] != shapes:
        raise CheckpointError(
            f"{path} holds {len(arrays)} arrays that don't fit this network of {len(names)}",
            action="use the spec it was trained with, or, with training.start_from, the same data.scale, grid "
            "and model options",
        )
    for variable, array in zip(variables, arrays.values(), strict=True):
        variable.assign(array)


def import_checkpoint(variables: Sequence[Any], arrays: Mapping[str, np.ndarray], path: Path, optional: str) -> None:
    """Copy the weights of another network to Keras variables of the same paths; random states are kept.

    Variables whose path begins with `optional` may have no value in `arrays`.

    Raises
    ------
    CheckpointError
        If a variable has no value in `arrays`, or one of another shape.
    """
    learned: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            learned.setdefault(name.partition(" ")[2], []).append(array)
    for variable in (v for v in variables if v.dtype == "float32"):
        values = learned.get(variable.path, [])
        if not values and variable.path.startswith(optional):
            continue
        if not values or values[0].shape != tuple(variable.shape):
            has = f"weights of shape {values[0].shape}" if values else "no weights"
            raise CheckpointError(
                f"{path} has {has} for {variable.path} of shape {tuple(variable.shape)}",
                action="with training.start_from, use the same model options, data.scale and number of fields, "
                "or leave training.start_from empty",
            )
        variable.assign(values.pop(0))


def fingerprint(variables: Sequence[tf.Variable]) -> str:
    """Hash the values (sha256): equal on all ranks if gradients were averaged."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()
