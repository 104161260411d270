"""Memory stays flat over epochs, and within what check estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy.stats import theilslopes

from engine.check import summarize
from engine.spec import Spec
from tests.engine.data.mock import write_field
from tests.engine.memory_measurement import measure

EPOCHS, SETTLED = 40, 10
GROWTH = 0.05 * 2**20  # bytes an epoch; measured: 0.003; one batch kept from each epoch: 0.4
CASES: dict[str, dict[str, Any]] = {
    "whole fields, adversarial": {"training": {"learning": "adversarial"}},
    "patches": {"data": {"patch_size": 32}, "model": {"localized": False}},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_memory_stays_flat_and_within_what_was_estimated(case, tmp_path):
    write_field(tmp_path / "hr.nc", ny=64, nx=96, times=80, dy=0.2, dx=0.2)
    sections = {
        "data": {"target": {"path": "hr.nc"}, "scale": 4},
        "model": {"n_filters": 16},
        "training": {"epochs": EPOCHS, "early_stopping": False, "steps_per_epoch": 1, "ema": 0.9},
    }
    given = CASES[case]
    plain = {name: {**options, **given.get(name, {})} for name, options in sections.items()}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **plain}))
    estimated_bytes = summarize(Spec.read(path)).memory_bytes
    taken = measure(Path(__file__).with_name("memory.py"), path, PYTHONMALLOC="malloc")
    assert len(taken["held"]) == EPOCHS
    # The median of all slopes between two epochs: batches that are read ahead come and go, by some MiB.
    grown = theilslopes(taken["held"][SETTLED:]).slope
    assert grown < GROWTH, taken["held"]
    assert taken["peak"] < estimated_bytes
