"""A run trained in the process of the tests, where what a process of its own does isn't looked at."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from engine import run as engine_run
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training.workers import Workers


def train_here(spec: Path, store: Path, *settings: str) -> Run:
    """A whole run; to start a command, a supervisor and a rank takes longer than a small training."""
    run, policy = Store(store).create(Spec.read(spec, settings), {}), keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_run, "join", lambda: Workers(0, 1))  # Horovod's thread would stay
        engine_run.work(run)
    keras.config.set_dtype_policy(policy)
    return run
