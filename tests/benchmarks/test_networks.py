"""The spatial networks on ERA5-UK with default settings: when each beats bicubic interpolation, and by how much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.era5 import BICUBIC_K, train
from tests.benchmarks.record import record

LIMIT_S = 40.0  # of training; the sum of all stays well below a quarter of an hour
NETWORKS = [
    *((backbone, upsampling) for backbone in ("convnet", "resnet", "densenet", "convnext", "swin", "fno", "graph")
      for upsampling in ("pin", "spc", "rc", "dc")),
    ("unet", "pin"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "upsampling"), NETWORKS)
def test_a_network_beats_interpolation(backbone: str, upsampling: str, shared_data: Path, tmp_path: Path) -> None:
    course = train(shared_data, tmp_path, seconds=LIMIT_S, model={"backbone": backbone, "upsampling": upsampling})
    seconds, rmse, _ = course.best
    figures = {
        "seconds_to_bicubic": course.reached(BICUBIC_K),
        "best_rmse_k": round(rmse, 3),
        "at_s": round(seconds, 1),
        "epochs": len(course.records),
    }
    record(f"ERA5-UK, {backbone} {upsampling}", figures)
    assert rmse < BICUBIC_K, json.dumps(figures)
