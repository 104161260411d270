"""Plausibility worked out by hand on fields of 2 × 4 cells in two LR cells."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from engine.evaluation.plausibility import plausibility, table_of

NAN = np.nan


def results(hr: list[list[float]], downscaled: list[list[float]], lr: list[float]) -> xr.Dataset:
    """One step at the equator, where rows 0.5° north and south of it have equal areas."""
    coords = {"time": xr.date_range("2001-01-01", periods=1), "y": [0.5, -0.5], "x": np.arange(4.0)}
    attrs = {"y": {"units": "degrees_north"}, "x": {"units": "degrees_east"}}
    fields = {name: (("time", "y", "x"), [values]) for name, values in {"hr": hr, "downscaled": downscaled}.items()}
    data = xr.Dataset({**fields, "interpolated": fields["hr"], "lr": (("time", "y_lr", "x_lr"), [[lr]])}, coords)
    for name, of_axis in attrs.items():
        data[name].attrs = of_axis
    return data


def test_numbers_are_those_worked_out_by_hand():
    hr = [[0.0, 2.0, 4.0, NAN], [2.0, 4.0, 4.0, 4.0]]
    downscaled = [[-1.0, 3.0, 5.0, NAN], [1.0, 1.0, 4.0, 6.0]]
    found = plausibility(results(hr, downscaled, [2.0, 4.0]))
    # LR cells are the left and the right four: HR has means 2 and 4, downscaled 1 and 5.
    assert found["hr"] == {
        "lowest": 0, "highest": 4, "negative": 0, "below_hr": 0, "above_hr": 0, "lr_difference": 0
    }  # fmt: skip
    assert found["downscaled"] == {
        "lowest": -1, "highest": 6, "negative": pytest.approx(1 / 7), "below_hr": pytest.approx(1 / 7),
        "above_hr": pytest.approx(2 / 7), "lr_difference": pytest.approx(1),
    }  # fmt: skip
    assert table_of(found, "mm")[3] == ["downscaled", "-1", "6", "14.3", "14.3", "28.6", "1"]


def test_of_a_field_with_negative_values_none_is_implausible_for_its_sign():
    found = plausibility(results([[-1.0] * 4] * 2, [[-2.0] * 4] * 2, [-1.0, -1.0]))
    assert np.isnan([found[product]["negative"] for product in found]).all()
    assert (found["downscaled"]["below_hr"], found["interpolated"]["below_hr"]) == (1, 0)
