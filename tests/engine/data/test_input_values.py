"""Range and missing share of each input, by hand, and the note on an LR in another unit than its file says."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.input_values import InputValues, check_values, sample_values
from engine.data.pairs import pair
from tests.engine.data.mock import make_field, write_field
from tests.engine.data.test_pairs import options

SPLIT = {"train": 0.5, "validation": 0.2, "test": 0.3}


def test_values_by_hand(tmp_path):
    path = write_field(tmp_path / "a.nc", missing=0.25)
    static = write_field(tmp_path / "dem.nc", times=0, units="m", seed=3)
    pairs = pair(options(path, split=SPLIT, static=[static]))
    hr, lr, dem = sample_values(pairs)
    chosen = make_field(missing=0.25)["t2m"].values[[0, 5, 9]]  # of the 10 training steps
    assert (hr.name, hr.unit, hr.missing) == ("data.target", "K", np.isnan(chosen).mean())
    np.testing.assert_allclose([hr.lowest, hr.highest], [np.nanmin(chosen), np.nanmax(chosen)], rtol=1e-6)
    np.testing.assert_allclose([hr.mean, hr.std], [np.nanmean(chosen), np.nanstd(chosen)], rtol=1e-6)
    assert (lr.name, dem.name, dem.unit) == ("LR", "data.static[0]", "m")
    assert check_values((hr, lr, dem)) == ()


@pytest.mark.parametrize(("factor", "offset"), [(1 / 86400, 0.0), (1.0, -273.15), (0.01, 0.0)])
def test_an_lr_whose_file_names_a_wrong_unit(tmp_path, factor, offset):
    hr = write_field(tmp_path / "hr.nc")
    field = make_field(ny=4, nx=6, dy=1.0, dx=1.0, south=40.25, west=0.25)
    field["t2m"] = (field["t2m"] * factor + offset).assign_attrs(units="K")
    field.to_netcdf(tmp_path / "lr.nc")
    inputs = sample_values(pair(options(hr, pairing="mos", scale=2, lr=str(tmp_path / "lr.nc"))))
    assert check_values(inputs) == (
        f"LR ({inputs[1]}) hardly looks like data.target ({inputs[0]}): if the unit in a file is wrong, give the right "
        "one with units: beside its path",
    )


def test_text():
    assert str(InputValues("LR", "mm day-1", 0.0, 115.7, 2.0, 6.0, 0.0)) == "0 to 115.7 mm day-1"
    assert str(InputValues("LR", "", 0.0, 1.0, 0.5, 0.1, 0.4083)) == "0 to 1, 41 % missing"
