"""Checkpoints: arrays by name in one file that appears whole, without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import CheckpointError
from engine.files import write_whole

if TYPE_CHECKING:  # reading the position of a checkpoint needs no TensorFlow
    import tensorflow as tf

STATE = "state"
LAST, BEST = "last.npz", "best.npz"  # with all that a resume needs, and with the best weights


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
