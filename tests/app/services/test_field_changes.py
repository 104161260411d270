"""Changes of RMSE between products, and where they stand out, from the values of test.nc."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.services.field_changes import BOTH, mean_differences, rmse_changes
from engine.evaluation.conditions import Condition
from engine.evaluation.significance import equal_accuracy, is_significant
from engine.runs import Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 60}


@pytest.mark.parametrize("text", ["", "hours:6,7,8,9,10,11,12,13/land", "from:281"])
def test_changes_are_those_of_the_chosen_values_in_common(tmp_path, text, monkeypatch):
    monkeypatch.setattr("app.services.chosen_fields.BLOCK_VALUES", 7 * 16 * 24)  # seven steps a block
    one = write_run(tmp_path, "one", **SMALL, surface=True)
    other = write_run(tmp_path, "other", **SMALL, skill=0.5)
    coarse = write_run(tmp_path, "coarse", **SMALL | {"nx": 32})
    with xr.open_dataset(other.results) as stored:
        later = stored.isel(time=slice(5, None)).load()
    later.to_netcdf(other.results)
    ids = [one.id, other.id, *([coarse.id] if "land" not in text else [])]
    selection = Selection.of(Comparison.of(Store(tmp_path), ids), Condition.parse(""))
    assert selection.n_steps == 55  # verification.nc of the second is of other steps: no condition
    write = Comparison.of(Store(tmp_path), [one.id] if text else ids)
    selection = Selection.of(write, Condition.parse(text))
    with xr.open_dataset(one.results) as stored, xr.open_dataset(one.normalizer_file) as static:
        fields = stored[["hr", "interpolated", "downscaled"]].load().astype(float)
        fields = fields.where(static["static_1"] == 1) if "land" in text else fields
    hours = fields["time"].dt.hour
    fields = fields.isel(time=slice(5, None)) if not text else fields
    fields = fields.isel(time=np.flatnonzero((hours >= 6) & (hours <= 13))) if "hours" in text else fields
    hr = fields["hr"].where(fields["hr"] >= 281) if "from" in text else fields["hr"]
    squares = {name: (fields[name] - hr) ** 2 for name in ("interpolated", "downscaled")}
    found = rmse_changes(selection)
    expected = np.sqrt(squares["downscaled"].mean("time")) - np.sqrt(squares["interpolated"].mean("time"))
    np.testing.assert_allclose(found["A"].values, expected, atol=2e-5)
    if "from" not in text:  # else there are gaps
        difference = (squares["downscaled"] - squares["interpolated"]).transpose("y", "x", "time").values
        p = equal_accuracy(difference[np.isfinite(difference[..., 0])])
        assert found["A"].is_clear[np.isfinite(difference[..., 0])].sum() == is_significant(p).sum()
    better, worse = found["A"].shares
    assert better > worse
    if not text:
        assert list(found) == ["A", "B", BOTH]
        error = np.sqrt(((later["downscaled"] - later["hr"]) ** 2).mean("time"))
        own = np.sqrt(squares["downscaled"].mean("time"))
        np.testing.assert_allclose(found[BOTH].values, own - error, atol=2e-5)


def test_too_few_steps_leave_nothing_clear(tmp_path):
    run = write_run(tmp_path, "one", **SMALL)
    selection = Selection.of(Comparison.of(Store(tmp_path), [run.id]), Condition.parse("hours:6"))  # three steps
    change = rmse_changes(selection)["A"]
    assert np.isfinite(change.values).all()
    assert not change.is_clear.any()


def test_mean_differences_are_pale_where_they_may_be_chance(tmp_path):
    """A run is 0.5 K too high in the western half, and else off by what changes its sign from day to day."""
    one, other = (write_run(tmp_path, title, **SMALL, skill=0.9) for title in ("one", "other"))
    with xr.open_dataset(one.results) as stored:
        data = stored.load()
    signs = np.random.default_rng(3).choice([-0.3, 0.3], data["hr"].shape).astype("float32")
    west = np.where(np.arange(24) < 12, 0.5, 0).astype("float32")
    data["downscaled"] = data["hr"] + signs + west
    data.to_netcdf(one.results)
    data["downscaled"] = data["hr"] + west
    data.to_netcdf(other.results)
    selection = Selection.of(Comparison.of(Store(tmp_path), [one.id, other.id]), Condition.parse(""))
    found = mean_differences(selection)
    assert list(found) == ["interpolated", "A", "B", BOTH]
    np.testing.assert_allclose(found["A"].values, signs.mean(axis=0) + west, atol=1e-5)
    np.testing.assert_allclose(found[BOTH].values, signs.mean(axis=0), atol=1e-5)
    assert found["A"].is_clear[:, :12].all()
    # Of 192 cells without a difference at most some are found clear beside as many that are: 10 % of all found ones.
    assert found["A"].is_clear[:, 12:].mean() < 0.15
    assert not found[BOTH].is_clear.any()
    p = equal_accuracy(signs.transpose(1, 2, 0).reshape(-1, 60).astype(float))
    assert is_significant(p).sum() == found[BOTH].is_clear.sum()
