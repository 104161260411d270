"""Memory that networks take to predict a field, against the estimate from their layers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.launch.local import ROOT, environment
from engine.models.shapes import Shape
from engine.spec import ModelOptions
from engine.training.memory_budget import prediction_bytes
from tests.engine.launch.engine_processes import TIMEOUT_S

PROGRAM = Path(__file__).with_name("measure_prediction.py")
SIDE_LR = 175  # 700 × 700 cells at scale 4: nearly as many as are predicted at once


def measured(*given: object) -> int:
    words = [sys.executable, str(PROGRAM), *map(str, given)]
    ended = subprocess.run(
        words, cwd=ROOT, env=environment(os.environ, 1), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "n_filters", "n_blocks"),
    [
        ("unet", 32, 4),
        ("unet", 16, 4),
        ("densenet", 32, 4),
        ("densenet", 16, 1),
        ("resnet", 32, 4),
        ("swin", 32, 4),
        ("graph", 32, 4),
    ],
)
def test_a_prediction_takes_no_more_than_was_estimated(backbone, n_filters, n_blocks):
    options = ModelOptions(backbone=backbone, n_filters=n_filters, n_blocks=n_blocks, upsampling="pin", localized=False)
    estimate = prediction_bytes(options, Shape(SIDE_LR, SIDE_LR, 1, 0, 4), 1)
    peak = measured(backbone, n_filters, n_blocks, SIDE_LR)
    assert 0.5 * estimate < peak < estimate


def test_a_dense_block_holds_all_that_its_layers_make():
    """By hand, 8 filters: 8 in, three times 4 and with it 12, 16 and 20 joined, 8 out; and 9 fields beside."""
    options = ModelOptions(backbone="densenet", n_filters=8, n_blocks=1, upsampling="pin", localized=False)
    channels = 8 + (4 + 12) + (4 + 16) + (4 + 20) + 8 + 9
    assert prediction_bytes(options, Shape(5, 5, 1, 0, 4), 1) == 4 * 20 * 20 * channels
