"""What the Data page shows of a variable; expectations from the numbers the file is made of."""

import numpy as np
import pytest
import xarray as xr

from app.services.preview import open_preview
from engine.errors import DataError
from engine.spec import Source


def test_facts_of_a_field_with_time(temperature_file):
    preview = open_preview(Source(str(temperature_file), "t2m"))
    assert (preview.steps, preview.static, preview.title) == (6, False, "2 metre temperature (K)")
    assert preview.facts["Time steps"] == "6"
    assert preview.facts["First, last"] == "2001-01-01 00:00\n2001-01-02 06:00"
    assert preview.facts["Step"] == "6 h"
    assert preview.facts["Missing"] == "5.0 %"  # 1 of 20 cells
    assert preview.facts["Values"] == "280.0 to 285.2 K"  # cells 0.01 to 0.19, times 0 to 5
    assert preview.counts.sum() == 6 * 19
    assert preview.time_text(1) == "2001-01-01 06:00"


def test_one_step_is_read(temperature_file):
    step = open_preview(Source(str(temperature_file), "t2m")).read(2)
    assert step.dims == ("y", "x")
    assert float(step[3, 4]) == pytest.approx(282.19, abs=1e-4)


def test_a_static_field(temperature_file):
    preview = open_preview(Source(str(temperature_file), "topography"))
    assert (preview.steps, preview.static, preview.time_text(0)) == (1, True, "")
    assert "Time steps" not in preview.facts
    assert float(preview.read(0).max()) == 19


def test_gaps_are_counted(tmp_path, temperature_file):
    with xr.open_dataset(temperature_file) as whole:
        whole.isel(time=[0, 1, 2, 4, 5]).to_netcdf(tmp_path / "gap.nc")
    assert open_preview(Source(str(tmp_path / "gap.nc"), "t2m")).facts["Step"] == "6 h, 1 gap"


def test_a_constant_field_has_a_colour_range(tmp_path, temperature_file):
    with xr.open_dataset(temperature_file) as whole:
        whole.assign(t2m=whole["t2m"] * 0 + 280.0).to_netcdf(tmp_path / "constant.nc")
    assert open_preview(Source(str(tmp_path / "constant.nc"), "t2m")).clim == (279.5, 280.5)


def test_a_field_without_any_value_is_refused(tmp_path, temperature_file):
    with xr.open_dataset(temperature_file) as whole:
        whole.assign(t2m=whole["t2m"] * np.nan).to_netcdf(tmp_path / "empty.nc")
    with pytest.raises(DataError, match="has no value in t2m: all 6 sampled steps are missing"):
        open_preview(Source(str(tmp_path / "empty.nc"), "t2m"))
