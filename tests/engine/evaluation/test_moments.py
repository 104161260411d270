"""Scores of cells against SciPy and NumPy, and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from engine.evaluation import moments
from engine.evaluation.moments import CELL_SCORES, Moments, area_mean, domain_moments

NAN = np.nan


def fields(times: int = 30, seed: int = 0) -> np.ndarray:
    """HR and two products, (3, time, 4, 5), with a tenth of the values missing here and there."""
    rng = np.random.default_rng(seed)
    hr = 280 + 3 * rng.normal(size=(times, 4, 5))
    products = hr * 0.8 + 57 + rng.normal(size=(2, *hr.shape))
    values = np.concatenate([hr[None], products]).astype("f4")
    return np.where(rng.random(values.shape) < 0.1, np.float32(NAN), values)


def cell(hr: list[float], product: list[float]) -> Moments:
    return Moments.of(np.array([hr, product], float)[:, :, None, None])


def test_by_hand():
    # Errors 1, -1, 3, 1; HR has mean 3 and deviations -2 0 2 0, the product mean 4 and deviations -2 -2 4 0.
    one = cell([1, 3, 5, 3], [2, 2, 8, 4])
    assert moments.mae(one).item() == 1.5
    assert moments.rmse(one).item() == math.sqrt(3)
    assert moments.bias(one).item() == 1.0
    assert moments.std_ratio(one).item() == pytest.approx(math.sqrt(24 / 8))
    r = 12 / math.sqrt(8 * 24)
    assert moments.pearson(one).item() == pytest.approx(r)
    expected = 1 - math.sqrt((r - 1) ** 2 + (math.sqrt(3) - 1) ** 2 + (4 / 3 - 1) ** 2)
    assert moments.kling_gupta(one).item() == pytest.approx(expected)


def test_each_cell_is_as_scipy_and_numpy_have_it_over_the_values_that_all_fields_have():
    values = fields()
    got = {name: score(Moments.of(values)) for name, score in CELL_SCORES.items()}
    for y, x in np.ndindex(4, 5):
        hr, *products = values[:, np.isfinite(values[:, :, y, x]).all(axis=0), y, x].astype(float)
        for number, product in enumerate(products):
            r, ratio = pearsonr(hr, product).statistic, product.std() / hr.std()
            expected = {
                "mae": np.abs(product - hr).mean(),
                "rmse": np.sqrt(((product - hr) ** 2).mean()),
                "bias": (product - hr).mean(),
                "pearson": r,
                "std_ratio": ratio,
                "kling_gupta": 1 - math.dist((r, ratio, product.mean() / hr.mean()), (1, 1, 1)),
            }
            assert {name: score[number, y, x] for name, score in got.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("cuts", [(1,), (0, 7), (3, 4, 20), (30,)])
def test_parts_merge_to_the_whole_in_any_order(cuts):
    values = fields()
    values[0, 3:5] = NAN  # a part without any value
    first, *others = [Moments.of(part) for part in np.split(values, cuts, axis=1)][::-1]
    for other in others:
        first = first.merge(other)
    for name, score in CELL_SCORES.items():
        np.testing.assert_allclose(score(first), score(Moments.of(values)), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("constant", [0.0, 280.1, 1e-7, 101325.3])
def test_constant_fields_have_no_correlation(constant):
    flat = np.full((1, 9, 4, 5), constant, "f4")
    varied = np.nan_to_num(fields(9)[:1], nan=281)
    for pair in ((varied, flat), (flat, varied)):
        both = np.concatenate(pair)
        merged = Moments.of(both[:, :4]).merge(Moments.of(both[:, 4:]))
        assert np.isnan(moments.pearson(merged)).all()
        assert np.isnan(moments.kling_gupta(merged)).all()
    assert np.isnan(moments.std_ratio(merged)).all()


def test_a_single_step_has_errors_only():
    one = cell([280.0], [282.0])
    assert [moments.mae(one).item(), moments.rmse(one).item(), moments.bias(one).item()] == [2, 2, 2]
    assert all(np.isnan(CELL_SCORES[name](one)).all() for name in ("pearson", "std_ratio", "kling_gupta"))


def test_a_perfect_product_and_a_cell_without_values():
    values = np.stack([fields()[0]] * 2)
    values[:, :, 0, 0] = NAN
    got = {name: score(Moments.of(values))[0] for name, score in CELL_SCORES.items()}
    for name, perfect in {"mae": 0, "rmse": 0, "bias": 0, "pearson": 1, "std_ratio": 1, "kling_gupta": 1}.items():
        assert np.isnan(got[name][0, 0])
        np.testing.assert_allclose(got[name].ravel()[1:], perfect, atol=1e-7)


def test_area_means_are_those_of_all_values_weighted_by_area():
    values, areas = fields(), np.arange(1.0, 21.0).reshape(4, 5)
    sums = Moments.of(values)
    valid = np.isfinite(values).all(axis=0)
    weights = np.broadcast_to(areas, valid.shape)[valid]
    errors = [(product - values[0].astype(float))[valid] for product in values[1:]]
    means = {name: area_mean(name, sums, areas) for name in CELL_SCORES}
    np.testing.assert_allclose(means["mae"], [np.average(np.abs(e), weights=weights) for e in errors])
    np.testing.assert_allclose(means["rmse"], [np.sqrt(np.average(e**2, weights=weights)) for e in errors])
    np.testing.assert_allclose(means["bias"], [np.average(e, weights=weights) for e in errors])
    by_cell = areas * valid.sum(axis=0)
    np.testing.assert_allclose(means["pearson"], [np.average(r, weights=by_cell) for r in moments.pearson(sums)])
    nothing = area_mean("rmse", Moments.of(np.full((2, 3, 2, 2), NAN)), np.ones((2, 2)))
    assert np.isnan(nothing).all()


def test_domain_moments_are_those_of_all_values_weighted_by_area():
    values, areas = fields(), np.linspace(1, 3, 20).reshape(4, 5)
    std, correlation = domain_moments(Moments.of(values), areas)
    valid = np.isfinite(values).all(axis=0)
    hr, *products = values[:, valid].astype(float)
    weights = np.broadcast_to(areas, valid.shape)[valid]
    covariances = [np.cov(hr, product, aweights=weights, ddof=0) for product in products]
    expected = [np.sqrt(covariances[0][0, 0]), *(np.sqrt(each[1, 1]) for each in covariances)]
    np.testing.assert_allclose(std, expected, rtol=1e-9)
    r = [each[0, 1] / np.sqrt(each[0, 0] * each[1, 1]) for each in covariances]
    np.testing.assert_allclose(correlation, r, rtol=1e-9)


def test_domain_moments_of_nothing():
    std, correlation = domain_moments(Moments.of(np.full((2, 3, 1, 2), NAN)), np.ones((1, 2)))
    assert np.isnan([*std, *correlation]).all()


@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, 273.15])
def test_a_field_constant_over_the_domain_has_no_correlation(constant):
    hr = np.arange(60.0).reshape(3, 4, 5)
    std, correlation = domain_moments(
        Moments.of(np.stack([hr, np.full_like(hr, constant)])), np.linspace(1, 3, 20).reshape(4, 5)
    )
    assert std[0] > 10
    assert std[1] == 0
    assert np.isnan(correlation).all()
