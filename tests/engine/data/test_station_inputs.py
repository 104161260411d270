"""Stations as inputs: departures and set convolutions by hand, on cells of 1° from the equator on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples
from engine.data.station_inputs import CHANNELS, StationSeries, gaussians, open_series, set_convolution
from engine.errors import DataError, SpecError, TimeError, UnitError
from engine.spec import DataOptions, Source, Spec
from tests.engine.data.mock import steps, write_field
from tests.engine.small_pairs import make_pairs, waves

NAN = np.nan
N = 80  # steps, of which 40 train
KM = 6371.0088 * np.pi / 180  # of one degree


def series_of(values: np.ndarray, lat: list[float], lon: list[float]) -> StationSeries:
    """Stations a, b, …; values (time, station)."""
    ids = np.array([chr(97 + k) for k in range(len(lat))])
    alt = 100.0 * np.arange(len(ids))
    return StationSeries(ids, ids, np.array(lon), np.array(lat), alt, np.asarray(values, np.float32))


def pairs_with_stations(interpolation: str = "bilinear") -> Pairs:
    """Station a measures HR of cell (3, 2) plus 5, on the cell's centre, b in cell (6, 6) minus 20."""
    hr = waves(N)
    values = np.stack([hr[:, 3, 2] + 5, hr[:, 6, 6] - 20], axis=1)
    pairs = make_pairs(hr, interpolation=interpolation)
    return dataclasses.replace(pairs, stations=series_of(values, [3.5, 6.5], [2.5, 6.5]))


def samples_of(pairs: Pairs, normalizer: Normalizer) -> Samples:
    return Samples(pairs, normalizer, DataOptions(target={"path": "hr.nc"}, scale=2), pairs.parts.test)


def test_a_set_convolution_by_hand():
    cells = np.array([[1.0, 0, 0], [0, 1, 0]])  # 0° and 90° E
    places = np.array([[1.0, 0, 0], [np.cos(0.1), np.sin(0.1), 0]])  # 0.1 rad apart: a chord of 2 sin 0.05
    length = 6371.0088 * 2 * np.sin(0.05)
    kernels = gaussians(cells, places, [length])
    near = np.exp(-0.5)
    np.testing.assert_allclose(kernels[0, 0], [1, near], rtol=1e-6)
    got = set_convolution(np.array([[2.0, -1.0], [NAN, 3.0], [NAN, NAN]]), kernels)
    np.testing.assert_allclose(got[:, 0, 0], [1 + near, near, 0], rtol=1e-6)
    np.testing.assert_allclose(got[:, 0, 1], [(2 - near) / (1.001 + near), 3 * near / (near + 0.001), 0], rtol=1e-6)
    np.testing.assert_allclose(got[:, 1], 0, atol=1e-12)  # a quarter of the globe away


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_departure_is_that_of_the_hr_cell_whatever_height_the_station_has(interpolation):
    pairs = pairs_with_stations(interpolation)
    normalizer = fit_normalizer(pairs, "standard")
    scaling = normalizer.stations
    assert scaling is not None
    assert scaling.noise == pytest.approx(0, abs=1e-4)  # stations differ from their cells by constants
    target, (a, b) = normalizer.target, scaling.means
    cell_means = scaling.cell_means[[3, 6], [2, 6]]
    np.testing.assert_allclose([a, b], cell_means + np.array([5, -20]) / target.divisor, atol=1e-4)
    samples = samples_of(pairs, normalizer)
    inputs, block = samples.read(np.arange(3))
    got = inputs[..., samples.inputs.stations]
    assert got.shape == (3, 4, 4, CHANNELS)
    base = np.stack([target.forward(f) for f in block.lr])
    at = pairs.stations.interpolate(base, pairs)
    departures = target.forward(block.hr[:, [3, 6], [2, 6]]) - at - cell_means
    # LR cells are 2° wide, from 0 on: the centre of (1, 1) lies at 3° N, 3° E, half a degree from a each way.
    chords = [np.hypot(0.5, 0.5 * np.cos(np.radians(3.25))) * KM, np.hypot(3.5, 3.5 * np.cos(np.radians(4.75))) * KM]
    for k, length in enumerate(scaling.lengths):
        kernel = np.exp(-0.5 * (np.array(chords) / length) ** 2)
        np.testing.assert_allclose(got[:, 1, 1, 2 * k], kernel.sum(), rtol=1e-3)
        expected = departures @ kernel / (kernel.sum() + 0.001)
        np.testing.assert_allclose(got[:, 1, 1, 2 * k + 1], expected, rtol=1e-2, atol=1e-3)


def test_without_stations_or_values_the_channels_are_zero():
    pairs = pairs_with_stations()
    normalizer = fit_normalizer(pairs, "standard")
    none = dataclasses.replace(pairs, stations=None)
    missing = dataclasses.replace(pairs.stations, values=np.full((N, 2), NAN, np.float32))
    for of in (none, dataclasses.replace(pairs, stations=missing)):
        samples = samples_of(of, normalizer)
        assert not samples.load(np.arange(4))[0][..., samples.inputs.stations].any()


def test_facts_about_stations_are_saved_with_the_run(tmp_path):
    pairs = pairs_with_stations()
    normalizer = fit_normalizer(pairs, "standard")
    normalizer.save(tmp_path / "scaling.nc", pairs)
    loaded = Normalizer.load(tmp_path / "scaling.nc")
    inputs = [samples_of(pairs, each).load(np.arange(4))[0] for each in (normalizer, loaded)]
    np.testing.assert_array_equal(*inputs)
    assert loaded.stations.known == {"a", "b"}


def test_a_station_with_few_values_in_the_training_part_is_not_used():
    pairs = pairs_with_stations()
    values = pairs.stations.values.copy()
    values[29:40, 1] = NAN  # 29 are left in the training part
    normalizer = fit_normalizer(
        dataclasses.replace(pairs, stations=dataclasses.replace(pairs.stations, values=values)), "standard"
    )
    assert normalizer.stations.known == {"a"}
    values[:40, 0] = NAN
    with pytest.raises(DataError, match="no station of data.stations has 30 values in the training part"):
        fit_normalizer(
            dataclasses.replace(pairs, stations=dataclasses.replace(pairs.stations, values=values)), "standard"
        )


def write_table(path, *, lat=(3.5, 6.5, 60.0), unit="degC", start="2001-01-01", days=N) -> Source:
    dates = pd.date_range(start, periods=days)
    rows = [f"{chr(97 + k)},{y},2.5,{day:%Y-%m-%d},{k}" for k, y in enumerate(lat) for day in dates]
    path.write_text(f"id,lat,lon,date,tas ({unit})\n" + "\n".join(rows) + "\n")
    return Source(str(path))


def test_stations_are_read_at_the_steps_of_hr_in_its_unit(tmp_path):
    notes: list[str] = []
    hr = make_pairs(waves(N), times=steps(N)).hr
    got = open_series(write_table(tmp_path / "s.csv", start="2001-01-11", days=N), hr, notes)
    assert got.ids.tolist() == ["a", "b"]  # the third lies at 60° N
    np.testing.assert_array_equal(got.values[:10], NAN)
    np.testing.assert_allclose(got.values[10:], np.broadcast_to([273.15, 274.15], (N - 10, 2)), rtol=1e-6)
    assert notes[-1] == "data.stations: 2 of 3 stations are used; 12.5% of their values at the steps of HR are missing"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"lat": (60.0,)}, DataError, "none of the 1 stations of .* lies in the region of HR"),
        ({"start": "1950-01-01"}, TimeError, "no time step is in all fields"),
        ({"unit": "mm"}, UnitError, "data.stations"),
    ],
)
def test_stations_that_do_not_fit_are_refused(given, error, words, tmp_path):
    with pytest.raises(error, match=words):
        open_series(write_table(tmp_path / "s.csv", **given), make_pairs(waves(N)).hr, [])


def test_stations_that_the_run_does_not_know_are_refused(tmp_path):
    source = write_table(tmp_path / "s.csv", lat=(3.5,))
    with pytest.raises(DataError, match="none of the 1 stations of .* is known"):
        open_series(source, make_pairs(waves(N)).hr, [], "--stations", {"z"})


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("data.target_v", {"target_v": {"path": "v.nc"}}),
        ("data.scaling", {"scaling": "season"}),
        ("data.patch_size", {"patch_size": 4}),
        ("data.pairing", {"lr": {"path": "lr.nc"}}),
    ],
)
def test_what_stations_cannot_go_with_is_refused(option, given):
    data = {"target": {"path": "hr.nc"}, "scale": 2, "stations": {"path": "stations.csv"}}
    plain = {"version": 1, "data": data | given, "model": {"localized": False}}
    with pytest.raises(SpecError, match=f"data.stations is given, but {option} is"):
        Spec.from_plain(plain)


def test_a_single_step_with_stations_is_refused(tmp_path):
    hr = write_field(tmp_path / "hr.nc", times=1)
    stations = {"path": write_table(tmp_path / "s.csv", lat=(41.0,)).path}
    with pytest.raises(TimeError, match="data.stations is given, but there is a single time step"):
        pair(DataOptions(target={"path": hr}, scale=2, stations=stations))
