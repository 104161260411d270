"""Normalizer: statistics by hand, of the training part alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.data import normalizer
from engine.data.grid_coordinates import grid_of
from engine.data.normalizer import Normalizer, ValueTransform, fit_normalizer, is_nonnegative_quantity, load_hr_template
from engine.data.pairs import Pairs
from engine.data.resample import interpolate
from engine.errors import DataError
from tests.engine.small_pairs import make_pairs, waves

NAN = np.nan


def two_values(low: float, high: float, n: int = 8) -> np.ndarray:
    """(n, 4, 4), half of each LR cell low, half high: mean between, standard deviation half the difference."""
    return np.broadcast_to(np.array([low, high] * 2, np.float32), (n, 4, 4)).copy()


def numbers(normalizer: Normalizer) -> dict[str, Any]:
    masks = {"mask": normalizer.mask.tolist(), "lr_mask": normalizer.lr_mask.tolist()}
    return {**dataclasses.asdict(normalizer), **masks}


def test_standard_is_mean_and_standard_deviation():
    normalizer = fit_normalizer(make_pairs(two_values(1, 3)), "standard")
    assert normalizer.target == ValueTransform(offset=2.0, divisor=1.0)
    assert (normalizer.hr_min, normalizer.hr_max) == (1.0, 3.0)
    np.testing.assert_array_equal(normalizer.target.forward(np.array([1, 2, 3, NAN])), np.float32([-1, 0, 1, NAN]))


def test_minmax_is_the_range():
    normalizer = fit_normalizer(make_pairs(two_values(-1, 3)), "minmax")
    assert normalizer.target == ValueTransform(offset=-1.0, divisor=4.0)
    np.testing.assert_array_equal(normalizer.target.forward(np.array([-1, 0, 3])), np.float32([0, 0.25, 1]))


def test_none_leaves_values_alone():
    pairs = make_pairs(two_values(1, 3), predictors=[waves(8, 2, 2)], static=[np.eye(4)])
    normalizer = fit_normalizer(pairs, "none")
    unchanged = ValueTransform()
    assert (normalizer.target, normalizer.predictors, normalizer.static) == (unchanged, (unchanged,), (unchanged,))


def test_log_is_standard_after_the_logarithm():
    # The mean of 0 and 2 is 1, the reference; log(1 + 0) = 0 and log(1 + 2) = ln 3, half of it mean and std.
    normalizer = fit_normalizer(make_pairs(two_values(0, 2)), "log")
    assert normalizer.target.reference == 1.0
    assert normalizer.target.offset == pytest.approx(math.log(3) / 2)
    assert normalizer.target.divisor == pytest.approx(math.log(3) / 2)
    values = np.array([0, 2, 8, -5, NAN])
    # log(1 + 8) = 2 ln 3, so (2 ln 3 - ln 3 / 2) / (ln 3 / 2) = 3; below zero counts as zero
    np.testing.assert_allclose(normalizer.target.forward(values), [-1, 1, 3, -1, NAN], rtol=1e-6)
    np.testing.assert_allclose(normalizer.target.inverse(np.float32([-1, 1, 3])), [0, 2, 8], atol=1e-6)


@pytest.mark.parametrize("kind", ["standard", "minmax", "log", "none"])
def test_there_and_back(kind):
    hr = waves(8, 4, 4)
    target = fit_normalizer(make_pairs(hr), kind).target
    back = target.inverse(target.forward(hr))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, hr, rtol=1e-5)
    assert np.isnan(target.inverse(target.forward(np.array([NAN])))).all()


@pytest.mark.parametrize("kind", ["standard", "minmax", "log", "none"])
def test_what_is_not_in_the_training_part_changes_nothing(kind):
    def fitted(shift: float) -> dict[str, Any]:
        hr, predictor = waves(8, 4, 4), waves(8, 2, 2, seed=1)
        hr[4:] += shift
        predictor[4:] *= 1 + shift
        hr[6, 0, 0] = NAN if shift else 280
        return numbers(fit_normalizer(make_pairs(hr, predictors=[predictor], static=[hr[0]]), kind))

    assert fitted(0.0) == fitted(100.0)
    inside = waves(8, 4, 4)
    inside[3] += 100
    assert numbers(fit_normalizer(make_pairs(inside), kind)) != numbers(
        fit_normalizer(make_pairs(waves(8, 4, 4)), kind)
    )


def test_predictors_and_static_variables_have_scales_of_their_own():
    predictors = [10 * waves(8, 2, 2, seed=1), waves(8, 2, 2, seed=2)]
    static = np.array([[0, 2], [0, 2]]).repeat(2, 0).repeat(2, 1).astype(float)
    static[0, 0] = static[0, 3] = NAN
    normalizer = fit_normalizer(make_pairs(waves(8, 4, 4), predictors=predictors, static=[static]), "log")
    for scale, values in zip(normalizer.predictors, predictors, strict=True):
        assert scale.offset == pytest.approx(values[:4].mean(dtype=float))
        assert scale.divisor == pytest.approx(values[:4].std(dtype=float))
        assert scale.reference == 0  # log is for the target
    assert normalizer.static == (ValueTransform(1.0, 1.0),)


def test_a_constant_predictor_or_static_variable_is_not_blown_up():
    pairs = make_pairs(waves(8, 4, 4), predictors=[np.full((8, 2, 2), 7.0)], static=[np.full((4, 4), 3.0)])
    normalizer = fit_normalizer(pairs, "standard")
    assert normalizer.predictors == (ValueTransform(7.0, 1.0),)
    assert normalizer.static == (ValueTransform(3.0, 1.0),)


def test_missing_values_are_left_out():
    hr = two_values(1, 3)
    hr[:, 0, 0] = NAN  # always missing: the sea
    hr[1, 1, 1] = NAN  # missing once
    hr[:, 3, 3] = NAN
    hr[5, 3, 3] = 2.0  # seen in the validation part only
    normalizer = fit_normalizer(make_pairs(hr), "standard")
    assert normalizer.target.offset == pytest.approx(np.nanmean(hr[:4].astype(float)))
    assert normalizer.target.divisor == pytest.approx(np.nanstd(hr[:4].astype(float)))
    assert normalizer.mask.sum() == 14
    assert not normalizer.mask[0, 0]
    assert not normalizer.mask[3, 3]
    assert (normalizer.hr_has_gaps, normalizer.lr_has_gaps) == (True, False)  # each LR cell has an HR cell with a value
    hr[2, :2, :2] = NAN
    assert fit_normalizer(make_pairs(hr), "standard").lr_has_gaps
    whole = fit_normalizer(make_pairs(two_values(1, 3)), "standard")
    assert (whole.hr_has_gaps, whole.lr_has_gaps, whole.mask.all()) == (False, False, True)


def test_the_residual_std_is_that_of_hr_minus_the_interpolated_field():
    # LR is 2 everywhere and so is the interpolated field, 0 when scaled; HR is -1 and 1 when scaled.
    pairs = make_pairs(two_values(1, 3), lr=np.full((8, 2, 2), 2.0))
    assert fit_normalizer(pairs, "standard").residual_std == pytest.approx(1.0)
    hr = waves(8, 4, 4)
    pairs = make_pairs(hr, interpolation="bilinear")
    error = hr[:4] - interpolate(pairs.lr.values[:4], 2, "bilinear")
    expected = error.std(dtype=float) / hr[:4].std(dtype=float)
    assert fit_normalizer(pairs, "standard").residual_std == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("low", "name", "is_nonnegative"),
    [
        (0.0, "", True),
        (-0.001, "", False),
        (-0.001, "air_temperature", False),
        (-0.001, "precipitation_flux", True),
        (-0.001, "mass_concentration_of_nitrogen_dioxide_in_air", True),
        (-0.001, "wind_speed", True),
        (-0.001, "eastward_wind", False),
    ],
)
def test_whether_the_quantity_has_values_below_zero(low, name, is_nonnegative):
    assert (
        fit_normalizer(make_pairs(two_values(low, 3), standard_name=name), "standard").is_nonnegative is is_nonnegative
    )
    assert is_nonnegative_quantity(name) is (is_nonnegative and bool(name))


def test_log_is_refused_for_negative_values():
    message = "t2m falls to -1, but data.scaling log needs values from 0 on: choose standard"
    with pytest.raises(DataError, match=message):
        fit_normalizer(make_pairs(two_values(-1, 3)), "log")
    later = two_values(1, 3)
    later[4:] = -1  # not in the training part
    assert fit_normalizer(make_pairs(later), "log").hr_min == 1


def test_a_training_part_without_values_or_without_change_is_refused():
    with pytest.raises(DataError, match=r"t2m has no value in the training part \(all missing\): choose another"):
        fit_normalizer(make_pairs(np.full((8, 4, 4), NAN)), "standard")
    with pytest.raises(DataError, match="t2m is 5 everywhere in the training part: there is nothing to learn"):
        fit_normalizer(make_pairs(np.full((8, 4, 4), 5.0)), "standard")


def test_a_long_training_part_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(normalizer, "MAX_SAMPLED_STEPS", 3)
    hr = two_values(1, 3, n=18)
    hr[[0, 4, 8]] += 10  # linspace(0, 8, 3): first, middle and last of the 9 training steps
    assert fit_normalizer(make_pairs(hr), "standard").target == ValueTransform(12.0, 1.0)


def test_blocks_and_memory_do_not_change_what_is_found(monkeypatch):
    hr = waves(40, 4, 4)
    at_once = numbers(fit_normalizer(make_pairs(hr), "log"))
    monkeypatch.setattr(normalizer, "CELLS_AT_ONCE", 3 * 16)
    in_blocks = fit_normalizer(make_pairs(hr), "log")
    monkeypatch.setattr(normalizer, "CACHE_BYTES", 0)
    read_again = fit_normalizer(make_pairs(hr), "log")
    assert numbers(in_blocks) == numbers(read_again)
    assert in_blocks.target.offset == pytest.approx(at_once["target"]["offset"], rel=1e-12)
    assert in_blocks.target.divisor == pytest.approx(at_once["target"]["divisor"], rel=1e-9)


def test_values_are_read_once_where_they_fit(monkeypatch):
    calls, original = [], Pairs.read

    def counted(self: Pairs, steps: np.ndarray) -> Any:
        calls.append(steps)
        return original(self, steps)

    monkeypatch.setattr(Pairs, "read", counted)
    fit_normalizer(make_pairs(waves(8, 4, 4)), "log")
    assert len(calls) == 1


@pytest.fixture
def pairs() -> Pairs:
    hr = waves(8, 4, 4)
    hr[:, 0, 0] = NAN
    static = [hr[0] + number for number in range(11)]
    return make_pairs(hr, predictors=[waves(8, 2, 2), waves(8, 2, 2, seed=3)], static=static)


def test_lr_is_known_where_it_has_a_value_at_any_training_step(pairs):
    lr = waves(8, 2, 2)
    lr[:4, 0, 1] = NAN  # all of the training part
    lr[0, 1, 1] = NAN  # once
    fitted = fit_normalizer(make_pairs(pairs.hr.values, lr=lr), "standard")
    np.testing.assert_array_equal(fitted.lr_mask, [[True, False], [True, True]])


def test_saved_and_loaded_it_is_the_same(pairs, tmp_path):
    fitted, path = fit_normalizer(pairs, "log"), tmp_path / "scaling.nc"
    fitted.save(path, pairs)
    loaded = Normalizer.load(path)
    assert numbers(loaded) == numbers(fitted)  # to the last bit
    assert loaded.mask.dtype == bool
    assert [p.name for p in tmp_path.iterdir()] == ["scaling.nc"]


def test_the_frame_for_new_data_is_kept_with_it(pairs, tmp_path):
    fit_normalizer(pairs, "log").save(tmp_path / "scaling.nc", pairs)
    template = load_hr_template(tmp_path / "scaling.nc")
    assert grid_of(template.hr) == pairs.hr_grid
    assert (template.hr.name, template.hr.attrs["units"], template.data_shape) == ("t2m", "K", (4, 4))
    assert len(template.static) == 11
    for kept, given in zip(template.static, pairs.static, strict=True):  # in their order, also the eleventh
        np.testing.assert_array_equal(kept.values, given.values)


def test_it_is_saved_whole_or_not_at_all(pairs, tmp_path, monkeypatch):
    def cut_short(self: xr.Dataset, path: Any, *_: Any, **__: Any) -> None:
        path.write_bytes(b"\x89HDF")
        raise OSError("killed")

    fitted = fit_normalizer(pairs, "standard")
    monkeypatch.setattr(xr.Dataset, "to_netcdf", cut_short)
    with pytest.raises(OSError, match="killed"):
        fitted.save(tmp_path / "scaling.nc", pairs)
    assert list(tmp_path.iterdir()) == []
