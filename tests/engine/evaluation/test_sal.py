"""SAL of fields made by hand: moved, scaled, doubled, spread out."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.sal import Places, is_precipitation, sal_of_steps
from engine.evaluation.verification import verify
from tests.engine.evaluation.test_verification import results

NAN = np.nan
PLACES = Places.of(np.full((31, 41), 4.0), (2.0, 2.0))  # cells of 2 km: 60 and 80 km between the outermost, 100 across


def field(*objects: tuple[int, int, float]) -> np.ndarray:
    """Squares of 3 × 3 cells by row and column of their middle and by their value, (1, y, x)."""
    values = np.zeros((1, 31, 41))
    for row, column, value in objects:
        values[0, row - 1 : row + 2, column - 1 : column + 2] = value
    return values


def sal(hr: np.ndarray, product: np.ndarray) -> list[float]:
    return sal_of_steps(hr, product[None], PLACES)[:, 0, 0].tolist()


def test_the_same_field_has_no_error():
    assert sal(field((10, 10, 2)), field((10, 10, 2))) == [0, 0, 0]


def test_a_moved_object_is_an_error_of_location_alone():
    # By 10 cells of 2 km: 20 km of 100 km.
    assert sal(field((10, 10, 2)), field((10, 20, 2))) == pytest.approx([0, 0, 0.2])


def test_a_scaled_field_is_an_error_of_amplitude_alone():
    # (3 - 1) / (0.5 (3 + 1)) = 1: V = R / R_max doesn't change with the value.
    assert sal(field((10, 10, 1), (20, 30, 2)), 3 * field((10, 10, 1), (20, 30, 2))) == pytest.approx([0, 1, 0])


def test_two_objects_in_place_of_one_around_the_same_centre():
    # R of each object is 9 cells × 4 km² × its value; V = Σ R V_n / Σ R = 36 for one and for both: S = 0. The amount is
    # twice as large: A = (2 - 1) / 1.5. The centre is the same; the mean distance from it 10 cells = 20 km, in place of
    # 0: L2 = 2 × 20 / 100.
    assert sal(field((15, 20, 2)), field((15, 10, 2), (15, 30, 2))) == pytest.approx([0, 2 / 3, 0.4])


def test_what_is_spread_out_has_a_positive_structure():
    # The same amount over 9 × 9 cells: V is 81 cells in place of 9, S = (81 - 9) / 45.
    flat = np.zeros((1, 31, 41))
    flat[0, 6:15, 6:15] = 2 / 9
    assert sal(field((10, 10, 2)), flat) == pytest.approx([1.6, 0, 0], abs=1e-12)


def test_objects_weigh_by_their_amount_and_end_at_a_fifteenth_of_the_largest_value():
    # HR: objects of 9 × 3 and 9 × 1: both have V_n = 9 cells. Of the product the second has a value of 3 / 16, below
    # 3 / 15 of the largest: it is part of the amount, 3 + 3/16 against 3 + 1, not of V, which is 9 cells too.
    hr, product = field((10, 10, 3), (10, 30, 1)), field((10, 10, 3), (10, 30, 3 / 16))
    structure, amplitude, location = sal(hr, product)
    assert structure == pytest.approx(0)
    assert amplitude == pytest.approx((3.1875 - 4) / (0.5 * 7.1875))
    # Centres of mass lie 1/4 and (3/16) / 3.1875 = 1/17 of the 40 km east of the first object: 10 and 40/17 km. HR's
    # objects are 10 and 30 km from it, weighing 3 and 1: 15 km; the product's only one 40/17 km.
    assert location == pytest.approx((10 - 40 / 17) / 100 + 2 * (15 - 40 / 17) / 100)


def test_objects_that_touch_at_a_corner_are_one_and_missing_and_negative_values_are_none():
    hr = field((10, 10, 2), (13, 13, 2))  # V is 18 cells: one object, not twice 9
    product = field((10, 10, 2), (20, 30, 2))
    assert sal(hr, product)[0] == pytest.approx((9 - 18) / 13.5)
    product[0, 5:15, 5:15] = NAN
    hr[0, 20:22, :] = -1
    assert np.isnan(sal(hr, product)).all()  # HR has nothing left where the product has a value
    assert np.isnan(sal(field((10, 10, 2)), np.zeros((1, 31, 41)))).all()


def test_verification_has_it_for_precipitation_only():
    file = results()
    assert "step_sal" not in verify(file)
    file["hr"].attrs |= {"standard_name": "precipitation_flux"}
    verification = verify(file)
    assert verification["step_sal"].dims == ("component", "product", "time")
    assert float(abs(verification["step_sal"]).max()) <= 2
    assert is_precipitation({"long_name": "total precipitation"})
    assert not is_precipitation({"standard_name": "air_temperature", "long_name": "temperature in rainfall"})
