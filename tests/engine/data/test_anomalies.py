"""Season and trend of each cell: planted ones are found, subtracted, and added again with the change of new LR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from engine.data.anomalies import Fit, Season, fit_anomalies, fit_bytes, years_of
from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.data.times import Parts
from engine.errors import DataError, SpecError
from engine.evaluation.predict import Downscaler
from engine.spec import Spec
from engine.training import assembly
from tests.engine.data.mock import steps
from tests.engine.small_pairs import make_pairs

YEARS = 16  # of which the first 8 train, and 4 each are the others
TREND = 0.05  # K a year


def season_of(times: xr.DataArray, amplitude: np.ndarray) -> np.ndarray:
    """280 K and one wave of a year of its own height in each cell, warmest in the middle of the year: (time, y, x)."""
    year = (times.dt.dayofyear.values - 1 + times.dt.hour.values / 24) / times.dt.days_in_year.values
    return 280 - amplitude * np.cos(2 * np.pi * year)[:, None, None]


def planted(trend: float = TREND, weather: float = 0.0, years: int = YEARS) -> tuple[Pairs, np.ndarray]:
    """Every third day; HR has a season of its own in each cell, one trend, and weather; also the amplitudes."""
    times = steps(years * 365 // 3, frequency="72h")
    amplitude = np.arange(1.0, 25.0).reshape(4, 6)
    coordinate = xr.DataArray(times, dims="time", coords={"time": times})
    hr = season_of(coordinate, amplitude) + trend * (years_of(coordinate) - 2001)[:, None, None]
    hr += weather * np.random.default_rng(1).normal(size=hr.shape)
    return make_pairs(hr.astype("f4"), times=times), amplitude


def spec_of(scaling: str, **model: object) -> Spec:
    return Spec.from_plain(
        {
            "version": 1,
            "data": {"target": {"path": "hr.nc"}, "scale": 2, "scaling": scaling},
            "model": {"n_filters": 4, "n_blocks": 1, "localized": False, **model},
        }
    )


def test_the_planted_season_and_trend_are_found():
    pairs, amplitude = planted()
    found = fit_anomalies(pairs, "season_trend")
    assert (found.season.year, found.season.day, len(found.season.months)) == (2, 0, 12)
    # Terms: the constant at the middle of the training part, then cosine and sine of one and of two waves a year.
    middle = years_of(pairs.times)[pairs.parts.train][[0, -1]].mean()
    assert found.season.origin == middle
    expected = np.stack([280 + TREND * (middle - 2001) + 0 * amplitude, -amplitude, *([0 * amplitude] * 3)])
    np.testing.assert_allclose(found.hr, expected, atol=2e-4)
    np.testing.assert_allclose(found.lr_trend[1], TREND, rtol=1e-3)
    np.testing.assert_array_equal(found.lr_trend[0], 0.0)
    areas = amplitude.reshape(2, 2, 3, 2).mean((1, 3))
    np.testing.assert_allclose(found.lr[1], -areas, atol=0.02)  # the northern row of a cell weighs a little less


def test_without_weather_nothing_is_left():
    pairs, _ = planted()
    found, every = fit_anomalies(pairs, "season_trend"), np.arange(len(pairs.times))
    left = found.of_block(pairs.read(every), pairs.times, pairs)  # test part included: the trend of LR goes on
    np.testing.assert_allclose(left.hr, 0.0, atol=2e-3)
    np.testing.assert_allclose(left.lr, 0.0, atol=2e-3)


def test_the_trend_of_hr_is_not_taken_for_that_of_lr():
    """LR of another model has no trend: then HR keeps its own in what the network learns."""
    pairs, _ = planted()
    still, _ = planted(trend=0.0)
    pairs = make_pairs(pairs.hr.values, lr=still.lr.values, times=pairs.times.values)
    found = fit_anomalies(pairs, "season_trend")
    left = found.of_block(pairs.read(pairs.parts.train), pairs.times.isel(time=pairs.parts.train), pairs)
    years = years_of(pairs.times.isel(time=pairs.parts.train))
    assert np.polyfit(years, left.hr[:, 1, 1], 1)[0] == pytest.approx(TREND, rel=0.05)
    np.testing.assert_allclose(found.lr_trend[1], 0.0, atol=1e-4)


def test_a_daily_cycle_is_found_and_gaps_are_left_out():
    times = steps(24 * 116, frequency="1h")
    coordinate = xr.DataArray(times, dims="time", coords={"time": times})
    hr = 280 + 3 * np.cos(2 * np.pi * coordinate.dt.hour.values / 24)[:, None, None] * np.ones((4, 4))
    hr[::5, 0, 0] = np.nan
    hr[:, 3, 3] = np.nan
    pairs = make_pairs(hr.astype("f4"), times=times)
    train = pairs.times.isel(time=pairs.parts.train)
    season = Season.of(train)
    assert (season.year, season.day) == (0, 2)  # 58 days of training, to the end of February
    fit = Fit(5, (4, 4))
    fit.add(season.terms(train), pairs.hr.values[pairs.parts.train])
    found = fit.coefficients()
    np.testing.assert_allclose(found[:2, 0, 0], [280, 3], atol=1e-3)
    assert np.isnan(found[:, 3, 3]).all()
    with pytest.raises(DataError, match="the validation part has months without a season: Mar"):
        fit_anomalies(pairs, "season")


def test_a_short_training_part_has_no_trend():
    pairs, _ = planted(years=8)
    with pytest.raises(DataError, match=r"spans 4\.0 years, too few to fit a trend"):
        fit_anomalies(pairs, "season_trend")
    assert not fit_anomalies(pairs, "season").lr_trend.any()


@pytest.mark.parametrize("scaling", ["season", "season_trend"])
def test_season_and_trend_are_saved_with_the_run(scaling, tmp_path):
    pairs, _ = planted(weather=1.0)
    normalizer = fit_normalizer(pairs, scaling)
    assert not normalizer.is_nonnegative
    normalizer.save(tmp_path / "scaling.nc", pairs)
    loaded = Normalizer.load(tmp_path / "scaling.nc")
    assert loaded.anomalies.season == normalizer.anomalies.season
    times = pairs.times[:5]
    np.testing.assert_array_equal(loaded.anomalies.base(times, pairs), normalizer.anomalies.base(times, pairs))
    assert loaded.target == normalizer.target
    # Weather of 1 K in each cell is what is left.
    assert normalizer.target.divisor == pytest.approx(1.0, rel=0.03)


def new_lr(pairs: Pairs, warming: float, years: int = 20) -> Pairs:
    """LR of 80 years later: its own season, warmer by so much on average, and by 0.1 K more each year."""
    times = xr.date_range("2081-01-01", periods=years * 365 // 3, freq="72h", use_cftime=False)
    coordinate = xr.DataArray(times, dims="time", coords={"time": times})
    amplitude = np.arange(1.0, 25.0).reshape(4, 6)
    hr = season_of(coordinate, amplitude) + warming + 0.1 * (years_of(coordinate) - 2081 - years / 2)[:, None, None]
    made = make_pairs(hr.astype("f4"), times=times)
    every = np.arange(len(times))
    return make_pairs(np.full_like(made.hr.values, np.nan), lr=made.lr.values, times=times, parts=([], [], every))


@pytest.mark.parametrize("years", [20, 3], ids=["a trend of its own", "too short for a trend"])
def test_new_lr_keeps_its_own_warming(years):
    """An untrained residual network adds the interpolated LR: the field has the season of HR and the change of LR."""
    pairs, amplitude = planted(weather=0.1)
    spec = spec_of("season_trend")
    normalizer = fit_normalizer(pairs, "season_trend")
    assembly.make_reproducible(spec)
    network = assembly.build_network(spec, pairs, normalizer)
    later = new_lr(pairs, warming=4.0, years=years)
    anomalies, (note,) = normalizer.anomalies.follow(later)
    middle = normalizer.anomalies.season.origin - 2001
    if years == 20:
        assert note.startswith(f"LR is +{4 - TREND * middle:.2f} ")
        assert "by +1.00 in ten years" in note
        assert (
            np.abs(anomalies.of_lr(later.lr.values, np.zeros((len(later.times), 2, 3, 0)), later.times)[0]).max() < 0.1
        )
    else:
        assert "too few for a trend of its own" in note
    samples = Samples.of(spec, later, replace(normalizer, anomalies=anomalies), later.parts.test)
    inputs, block = samples.read(np.arange(len(samples)))
    field = Downscaler.of([network], spec, samples).predict_members(samples, inputs, block.base)[0]
    expected = season_of(later.times, amplitude) + 4.0
    expected = expected + 0.1 * (years_of(later.times) - 2081 - years / 2)[:, None, None]
    np.testing.assert_allclose(field, expected, atol=0.06)  # weather is in the season that was fitted


def test_cells_with_too_few_new_values_keep_the_trend_of_training():
    pairs, _ = planted()
    trained, later = fit_anomalies(pairs, "season_trend"), new_lr(pairs, warming=4.0)
    gappy = later.lr.values.copy()
    gappy[5:, 1, 2] = np.nan  # 5 values are left, of 6 that a line needs
    followed, _ = trained.follow(make_pairs(later.hr.values, lr=gappy, times=later.times.values))
    np.testing.assert_array_equal(followed.lr_trend[:, 1, 2], trained.lr_trend[:, 1, 2])
    assert followed.lr_trend[1, 0, 0] == pytest.approx(0.1, rel=1e-3)


def test_season_and_trend_of_predictors_are_taken_away():
    pairs, _ = planted()
    predictor = 2 * pairs.lr.values + 1
    pairs = make_pairs(pairs.hr.values, predictors=[predictor], times=pairs.times.values)
    found = fit_anomalies(pairs, "season_trend")
    np.testing.assert_allclose(found.predictors[0, 1:], 2 * found.lr[1:], atol=1e-3)
    np.testing.assert_allclose(found.predictor_trends[0], 2 * found.lr_trend, atol=1e-5)
    left = found.of_block(pairs.read(pairs.parts.test), pairs.times.isel(time=pairs.parts.test), pairs)
    np.testing.assert_allclose(left.predictors, 0.0, atol=5e-3)


def test_the_memory_of_the_fit_is_known_before():
    pairs, _ = planted()
    # Six terms (1, two harmonics of the year, the trend): sums of their products and with values; 24 HR and 6 LR cells.
    assert fit_bytes(pairs, "season_trend") == 8 * (6 * 6 + 6) * (24 + 6)
    assert fit_bytes(pairs, "standard") == 0
    fit = Fit(6, (4, 6))
    assert fit.squares.nbytes + fit.products.nbytes == 8 * (6 * 6 + 6) * 24


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": {"constraint": "additive"}}, "model.constraint"),
        ({"model": {"output_activation": "relu"}}, "model.output_activation"),
        ({"model": {"residual": False}}, "model.residual"),
        ({"model": {"upsampling": "implicit", "scales": [2, 3]}}, "model.scales"),
        ({"training": {"loss": "bernoulli_gamma"}}, "training.loss"),
        ({"data": {"target_v": {"path": "v.nc"}}}, "data.target_v"),
    ],
)
def test_options_that_do_not_go_with_a_season_are_refused_by_name(options, named):
    with pytest.raises(SpecError, match=named):
        spec_of("season_trend").replace(**options)


def test_new_lr_of_another_season_is_refused():
    pairs, _ = planted()
    found = fit_anomalies(replace(pairs, parts=winters(pairs)), "season")
    assert (found.season.year, found.season.months) == (1, (1, 2, 12))
    with pytest.raises(DataError, match=r"LR has months without a season: Mar, .*Nov\n?.*"):
        found.follow(new_lr(pairs, 0.0))


def test_a_field_is_not_downscaled_without_its_season():
    pairs, _ = planted(weather=1.0)
    spec, normalizer = spec_of("season"), fit_normalizer(pairs, "season")
    assembly.make_reproducible(spec)
    network = assembly.build_network(spec, pairs, normalizer)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    inputs, _ = samples.read(np.arange(2))
    with pytest.raises(ValueError, match="give FieldBlock.base"):
        Downscaler.of([network], spec, samples).predict_members(samples, inputs)


def winters(pairs: Pairs) -> Parts:
    is_winter = np.isin(pairs.times.dt.month.values, (12, 1, 2))
    return Parts(*(part[is_winter[part]] for part in (pairs.parts.train, pairs.parts.validation, pairs.parts.test)))
