"""How soon training with default settings reaches DL4DS's error on ERA5-UK, graph compilation included.

DL4DS 1.8.0 took 215 s to a test RMSE of 0.432 K on this split (resnet, spc, 60 epochs, two cores).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.era5 import train
from tests.benchmarks.record import record

MARKS_K = (0.432, 0.40, 0.38, 0.36, 0.35, 0.34, 0.33)


@pytest.mark.slow
def test_time_to_dl4ds_error(shared_data: Path, tmp_path: Path) -> None:
    course = train(shared_data, tmp_path)
    figures = {
        "seconds_to_rmse_k": {str(mark): course.reached(mark) for mark in MARKS_K},
        "final_rmse_k": round(course.best[1], 4),
        "training_s": round(course.records[-1][0], 1),
    }
    record("time to accuracy, ERA5-UK", figures)
    assert course.reached(0.432) is not None
