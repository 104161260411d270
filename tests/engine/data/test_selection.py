"""One level or member of a file, by `select` beside its path."""

import numpy as np
import pytest
import xarray as xr

from engine.data.fields import open_field, steps_per_chunk
from engine.data.pairs import pair
from engine.errors import DataError
from engine.spec import DataOptions, Source
from tests.engine.data.mock import make_field


@pytest.fixture
def path(tmp_path) -> str:
    """t2m on four levels for three members, and a fourth dimension without coordinate: level + number + band / 10."""
    levels = xr.DataArray([1000.0, 850.0, 500.0, 0.49402], dims="level")
    field = make_field(ny=16, nx=16)["t2m"] * 0 + levels + xr.DataArray([0, 1, 2], dims="number")
    field = field + xr.DataArray([0.0, 0.1], dims="band")
    field = field.assign_coords(level=levels.astype("f4"), number=[0, 1, 2]).transpose("number", "time", ...)
    dataset = field.astype("f4").assign_attrs(units="K").to_dataset(name="t2m")
    dataset.to_netcdf(tmp_path / "a.nc", encoding={"t2m": {"chunksizes": (1, 5, 16, 16, 1, 1)}})
    return str(tmp_path / "a.nc")


def opened(path: str, **select) -> tuple[xr.DataArray, list[str]]:
    notes: list[str] = []
    return open_field(Source(path, select=tuple(select.items())), notes=notes), notes


def test_what_is_chosen_is_read(path):
    field, notes = opened(path, level=850, number=2, band=1)
    assert field.dims == ("time", "y", "x")
    np.testing.assert_allclose(field, 850 + 2 + 0.1, rtol=1e-6)
    assert notes == []
    assert steps_per_chunk(Source(path, select=(("level", 850), ("number", 2), ("band", 1)))) == 5
    assert opened(path, level=0.49402, number=0, band=0)[1] == []  # float32 in the file


def test_the_nearest_is_taken_with_a_note_up_to_half_the_way_to_the_next(path):
    field, notes = opened(path, level=900, number=0, band=0)
    assert notes == [f"t2m in {path} has no level 900: 850 is the nearest, and is taken"]
    assert float(field[0, 0, 0]) == 850


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"level": 925}, "has no level 925: expected one of 1000, 850, 500, 0.49402"),  # halfway: neither is meant
        ({"number": 1.4}, "has no number 1.4: expected one of 0, 1, 2"),
        ({"number": 3}, "has no number 3: expected one of 0, 1, 2"),
        ({"level": "surface"}, "has no level surface: expected one of 1000, 850, 500, 0.49402"),
        ({"levl": 850}, "has no dimension 'levl': did you mean 'level'?"),
        ({"level": 850, "number": 0}, "y and x; choose one with select: {band: 0}"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(path, select, message):
    with pytest.raises(DataError) as caught:
        opened(path, **select)
    assert message in str(caught.value)


def test_text_and_single_values_are_chosen_too(tmp_path):
    field = make_field(ny=4, nx=4)["t2m"].expand_dims(surface=["land", "sea"]).copy()
    field[1] = 1.0
    field.assign_coords(height=2.0).to_dataset().to_netcdf(tmp_path / "a.nc")
    assert (opened(str(tmp_path / "a.nc"), surface="sea", height=2)[0] == 1).all()
    with pytest.raises(DataError, match="has no height 10: expected one of 2"):
        opened(str(tmp_path / "a.nc"), surface="sea", height=10)


def test_two_levels_of_one_file_are_two_predictors(path):
    at = {"number": 0, "band": 0}
    sources = [{"path": path, "variable": "t2m", "select": {"level": level, **at}} for level in (850, 500)]
    pairs = pair(DataOptions(target=sources[0], predictors=sources, scale=4))
    np.testing.assert_allclose(pairs.read(np.array([3])).predictors[0, 0, 0], [850, 500])
