"""New data for a trained run: brought to the units that its network learned from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.data.normalizer import fit_normalizer, load_hr_template
from engine.data.pairs import pair, pair_for_downscaling
from engine.errors import TimeError, UnitError
from engine.spec import DataOptions
from tests.engine.data.mock import make_field, write_field


def trained_with_wind(tmp_path, units: str | None = "m/s", spec_units: str = "") -> tuple[DataOptions, Path]:
    """A spec with a predictor of 10 in every cell, and the file that a run of it keeps of its grids and units."""
    wind = {"path": write_wind(tmp_path / "wind.nc", units), "variable": "u10", "units": spec_units}
    chosen = DataOptions(
        target={"path": write_field(tmp_path / "hr.nc"), "variable": "t2m"}, scale=4, predictors=[wind]
    )
    pairs = pair(chosen)
    fit_normalizer(pairs, "standard").save(tmp_path / "scaling.nc", pairs)
    return chosen, tmp_path / "scaling.nc"


def write_wind(path: Path, units: str | None, lr_units: str | None = None) -> str:
    """u10 on the LR grid, 10 everywhere in `units`; with a field t2m beside it if `lr_units` are given."""
    grid = {"ny": 2, "nx": 3, "south": 40.75, "west": 0.75, "dy": 2.0, "dx": 2.0}
    dataset = make_field(**grid, name="u10", units=units)
    dataset["u10"][:] = 10.0
    (dataset.merge(make_field(**grid, units=lr_units)) if lr_units else dataset).to_netcdf(path)
    return str(path)


@pytest.mark.parametrize(
    ("units", "expected", "notes"),
    [
        ("m s-1", 10.0, ()),
        ("km/h", 10 / 3.6, ("data.predictors[0] is converted from 'km/h' to 'm/s' (× 0.277778)",)),
    ],
)
def test_predictors_of_new_data_are_converted_to_the_unit_of_the_run(tmp_path, units, expected, notes):
    chosen, scaling = trained_with_wind(tmp_path)
    new = write_wind(tmp_path / "new.nc", units, lr_units="degC")
    pairs = pair_for_downscaling(chosen, load_hr_template(scaling), new)
    np.testing.assert_allclose(pairs.read(np.arange(20)).predictors, expected, rtol=1e-6)
    assert pairs.notes == ("LR is converted from 'degC' to 'K' (× 1 + 273.15)", *notes)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("Pa", "data.predictors[0] is in 'Pa', which can't be converted to 'm/s': choose the same quantity as the run"),
        (None, "data.predictors[0] has no units, but the run is in 'm/s': correct the attribute units of the file"),
    ],
)
def test_predictors_of_new_data_in_other_units_are_refused(tmp_path, units, message):
    chosen, scaling = trained_with_wind(tmp_path)
    new = write_wind(tmp_path / "new.nc", units, lr_units="K")
    with pytest.raises(UnitError) as caught:
        pair_for_downscaling(chosen, load_hr_template(scaling), new)
    assert str(caught.value).startswith(message)


def test_units_that_cannot_be_compared_are_noted(tmp_path):
    chosen, scaling = trained_with_wind(tmp_path, units=None)
    template, new = load_hr_template(scaling), write_wind(tmp_path / "new.nc", "km/h", lr_units="K")
    expected = ("data.predictors[0] is in 'km/h': the run recorded no unit that it could be compared with",)
    assert pair_for_downscaling(chosen, template, new).notes == expected
    earlier = dataclasses.replace(template, predictor_units=None)  # of a run made before units were recorded
    assert pair_for_downscaling(chosen, earlier, new).notes == expected


def test_a_unit_of_the_spec_that_differs_from_new_data_is_noted(tmp_path):
    chosen, scaling = trained_with_wind(tmp_path, units=None, spec_units="m/s")
    new = write_wind(tmp_path / "new.nc", "km/h", lr_units="K")
    pairs = pair_for_downscaling(chosen, load_hr_template(scaling), new)
    assert pairs.notes == ("data.predictors[0] is in 'km/h' by its file, but in 'm/s' by the run's spec",)
    np.testing.assert_array_equal(pairs.read(np.arange(3)).predictors, 10.0)


def test_new_data_without_a_time_step_are_refused(tmp_path):
    chosen, scaling = trained_with_wind(tmp_path)
    write_wind(tmp_path / "full.nc", "m/s", lr_units="K")
    with xr.open_dataset(tmp_path / "full.nc") as dataset:
        dataset.isel(time=slice(0)).drop_encoding().to_netcdf(tmp_path / "empty.nc")
    with pytest.raises(TimeError, match=r"t2m in .*/empty.nc has no time step: expected at least one"):
        pair_for_downscaling(chosen, load_hr_template(scaling), str(tmp_path / "empty.nc"))


def test_new_data_without_a_date_are_refused_where_their_season_is_needed(tmp_path):
    chosen, scaling = trained_with_wind(tmp_path)
    write_wind(tmp_path / "full.nc", "m/s", lr_units="K")
    with xr.open_dataset(tmp_path / "full.nc") as dataset:
        dataset.isel(time=0, drop=True).to_netcdf(tmp_path / "undated.nc")
    template, new = load_hr_template(scaling), str(tmp_path / "undated.nc")
    assert len(pair_for_downscaling(chosen, template, new).times) == 1
    with pytest.raises(TimeError, match="has no time dimension"):
        pair_for_downscaling(chosen.replace(scaling="season"), template, new)
