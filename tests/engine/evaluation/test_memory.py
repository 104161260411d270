"""Memory of prediction: within what check estimates, and in tiles next to nothing for the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.check import summarize
from engine.spec import Spec
from tests.engine.data.mock import write_field
from tests.engine.memory_measurement import measure

pytestmark = pytest.mark.slow

SIDE = 1536  # nearly five times as many cells as are predicted at once


def peak(folder: Path, side: int, model: dict[str, Any]) -> tuple[int, int]:
    """Measure bytes that an evaluation of such fields takes at most, and give what check estimates for the run."""
    folder.mkdir()
    write_field(folder / "hr.nc", ny=side, nx=side, times=8, dy=0.01, dx=0.01)
    plain = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 4, "patch_size": 64},
        "model": {"localized": False, **model},
        "training": {"batch_size": 1},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(plain))
    return measure(Path(__file__).with_name("measure_memory.py"), path)["peak"], summarize(Spec.read(path)).memory_bytes


def test_in_tiles_the_network_takes_no_more_than_was_estimated(tmp_path):
    """Attention has to see the whole field: so it shows what tiles save, which check estimates for both."""
    tiles, tiles_estimate = peak(tmp_path / "tiles", SIDE, {"upsampling": "pin", "n_blocks": 1})
    whole, whole_estimate = peak(tmp_path / "whole", SIDE, {"upsampling": "pin", "n_blocks": 1, "attention": True})
    assert tiles < tiles_estimate
    assert whole < whole_estimate
    assert whole - tiles > 0.8 * (whole_estimate - tiles_estimate) > 600 * 2**20
