"""Values at stations that are withheld: nothing measured in a station's fold enters what is made for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.data.spherical_cells import to_vectors
from engine.data.stations import ID, LAT, LON
from engine.evaluation.kriging import Kriging
from engine.evaluation.predict import Downscaler
from engine.evaluation.stations import verify_at_stations
from engine.evaluation.withheld import AT_HEIGHT, METHODS, PRODUCTS, VALUES, folds_of, height_offsets
from engine.evaluation.withheld_fields import write_withheld
from engine.spec import Spec
from engine.training import assembly
from tests.engine.data.test_station_inputs import N, series_of
from tests.engine.evaluation.test_stations import make_results, make_stations
from tests.engine.small_pairs import make_pairs, waves

LAT_LON = [(0.5, 0.5), (0.7, 1.2), (6.5, 6.5), (6.8, 0.5), (0.5, 7.0), (3.5, 3.5), (3.6, 3.4)]
EARTH_KM = 6371.0088


def pairs_of(changed: int | None = None) -> Pairs:
    """Seven stations, each as its HR cell with noise; in the test part one has other values."""
    hr, rng = waves(N), np.random.default_rng(1)
    lat, lon = map(list, zip(*LAT_LON, strict=True))
    values = np.stack([hr[:, int(y), int(x)] for y, x in LAT_LON], axis=1) + rng.normal(size=(N, len(lat)))
    if changed is not None:
        values[60:, changed] += 5
    return dataclasses.replace(make_pairs(hr), stations=series_of(values, lat, lon))


@pytest.fixture(scope="module")
def normalizer() -> Normalizer:
    return fit_normalizer(pairs_of(), "standard")


@pytest.fixture(scope="module")
def network(normalizer):
    plain = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2, "stations": {"path": "s.csv"}},
        "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "residual": False},
        "training": {"precision": "float32"},
    }
    spec = Spec.from_plain(plain)
    assembly.make_reproducible(spec)  # a network that adds nothing to LR at first would hide what it is given
    return spec, assembly.build_network(spec, pairs_of(), normalizer)


def withheld_of(pairs: Pairs, normalizer: Normalizer, network, path: Path) -> xr.Dataset:
    spec, model = network
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    write_withheld(path, Downscaler.of([model], spec, samples), samples, "a test part")
    with xr.open_dataset(path) as file:
        return file.load()


def test_a_station_never_enters_what_is_made_for_its_fold(normalizer, network, tmp_path):
    before = withheld_of(pairs_of(), normalizer, network, tmp_path / "before.nc")
    changed = 5  # 16 km away lies the last one
    after = withheld_of(pairs_of(changed), normalizer, network, tmp_path / "after.nc")
    fold = before["fold"].values
    assert fold[5] == fold[6]
    assert len(set(fold)) == 5
    assert before.sizes["product"] == 5
    inside = fold == fold[changed]
    for name in (*PRODUCTS, *AT_HEIGHT):
        old, new = (each[VALUES].sel(product=name).values for each in (before, after))
        assert np.isfinite(old).all()
        np.testing.assert_array_equal(old[:, inside], new[:, inside], err_msg=name)
        assert np.any(old[:, ~inside] != new[:, ~inside]) == (name not in ("without_stations", "lr_at_height"))


def test_folds_are_groups_that_lie_together():
    lon, lat = [179.5, -179.5, 0.0, 0.5, 90.0, 91.0, 10.0, 100.0], [0.0, 0.0, 50.0, 50.0, 0.0, 0.0, -60.0, 70.0]
    folds = folds_of(np.array(lon), np.array(lat))
    assert folds[0] == folds[1]
    assert folds[2] == folds[3]
    assert folds[4] == folds[5]
    assert len(set(folds)) == 5
    assert folds_of(np.array([3.0]), np.array([2.0])).tolist() == [1]


def test_kriging_by_hand():
    near, far = np.array([0.0]), np.array([0.01 * 180 / np.pi])  # 0.01 rad along the equator
    places = to_vectors(np.concatenate([near, far]), np.zeros(2))
    kriging = Kriging(length_km=EARTH_KM * 2 * np.sin(0.005), nugget=0.5)  # of the chord
    c = np.exp(-1)
    departures = np.array([[3.0, np.nan], [np.nan, np.nan], [3.0, 1.0]])
    got = kriging.predict(departures, places, places[:1])[:, 0]
    # One station: C(0) / (C(0) + nugget); two: (1, c) times the inverse of [[1.5, c], [c, 1.5]].
    both = np.array([1.5 - c**2, 1.5 * c - c]) / (1.5**2 - c**2) @ [3, 1]
    np.testing.assert_allclose(got, [3 / 1.5, 0, both], rtol=1e-4)


def test_kriging_chooses_what_predicts_each_station_from_the_others():
    rng = np.random.default_rng(0)
    places = to_vectors(np.arange(6) * 0.5, np.zeros(6))  # 56 km apart
    common, own = rng.normal(size=(200, 1)), rng.normal(size=(200, 6))
    fitted = Kriging.fit(np.repeat(common, 6, 1) + 0.3 * own, places)
    assert fitted.length_km == 800
    assert Kriging.fit(own, places).length_km == 50  # nothing in common


def test_a_height_offset_is_a_line_through_the_other_stations():
    alt = np.array([0.0, 1000, 500, 2000, np.nan, 800])
    differences = np.array([1.0, -5.5, -2.25, 99, 4, np.nan])  # 1 - 6.5 K / km
    inside = np.array([False, False, False, True, False, True])
    np.testing.assert_allclose(height_offsets(differences, alt, inside), [-12, 1 - 6.5 * 0.8])
    unknown = np.where(np.arange(6) == 3, np.nan, alt)
    mean = (1 - 5.5 - 2.25 + 4) / 4
    np.testing.assert_allclose(height_offsets(differences, unknown, inside), [mean, 1 - 6.5 * 0.8])
    np.testing.assert_allclose(height_offsets(differences, np.full(6, np.nan), inside), [mean, mean])


def test_scores_at_stations_of_the_run_are_those_of_withheld_values():
    results = make_results()
    stations = make_stations({"a": (0.0, 0.0), "b": (2.0, 1.0), "new": (1.0, 1.0)}, np.zeros((3, 3)))
    values = np.zeros((len(PRODUCTS), len(METHODS), 2, 3)) + np.arange(1, 1 + len(PRODUCTS))[:, None, None, None]
    values[:, 1] += 10  # bilinear
    values[:, :, 1] += 0.5  # b
    coords = {"product": list(PRODUCTS), "method": list(METHODS), "time": results["time"].values}
    coords |= {ID: ("station", ["a", "b"]), LAT: ("station", [0.0, 2.0]), LON: ("station", [0.0, 1.0])}
    withheld = xr.Dataset({VALUES: (("product", "method", "station", "time"), values)}, coords)
    got = verify_at_stations(results, stations, withheld=withheld)
    assert got["pairs"].values.tolist() == [3, 3, 0]
    for number, name in enumerate(PRODUCTS, 1):
        np.testing.assert_allclose(got["bias"].sel(product=name), [number, number + 0.5, np.nan])
    np.testing.assert_allclose(got["bias"].sel(product="hr"), [1, 22, np.nan])  # 10 row + column + 1
    assert (
        "what is downscaled at one is made without those of its fold, of 5; 1 that are no input are left out"
        in (got.attrs["notes"])
    )
    alone = verify_at_stations(results, stations.isel(station=[2]), withheld=withheld)
    assert "none of these stations is input of the run" in alone.attrs["notes"]
    np.testing.assert_allclose(alone["bias"].sel(product="downscaled"), [13])
