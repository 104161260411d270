"""Members that are drawn in tiles, as those of all flows are tested."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from engine.data.samples import Samples
from engine.evaluation import predict, tiles
from engine.evaluation.predict import Downscaler
from engine.spec import Spec


def check_spread_in_tiles(
    spec: Spec, network: keras.Model, samples: Samples, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """Fields of 80 × 160 cells have other members in at least so many tiles, of the same spread."""
    inputs, _ = samples.read(np.arange(1))
    downscaler = Downscaler.of([network], spec, samples)
    whole = downscaler.fields(samples, inputs)["spread"]
    monkeypatch.setattr(predict, "HR_CELLS_AT_ONCE", 1)
    monkeypatch.setattr(tiles, "MIN_HALOS", least)
    assert len(tiles.plan_tiles((40, 80), 2, downscaler.reach, 1)) >= least
    in_tiles = downscaler.fields(samples, inputs)["spread"]
    assert np.any(in_tiles != whole)
    assert in_tiles.mean() == pytest.approx(whole.mean(), rel=0.02)  # of 12,800 cells
