"""Losses by hand: missing values weigh nothing and move nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import Normalizer, ValueTransform
from engine.spec import TrainingOptions
from engine.training.losses import MIXTURES, Loss, weighted_sum

NAN = np.nan
NAMES = [name for name in TrainingOptions.declared()["loss"].objects if name != "bernoulli_gamma"]  # of one channel
AT_CELLS = ["mae", "mse", "huber", "quantile"]
OF_FIELDS = [name for name in NAMES if name not in AT_CELLS]


def field(*values: float) -> tf.Tensor:
    """(1, 2, 2, 1)"""
    return tf.constant(values, tf.float32, (1, 2, 2, 1))


def noise(*sides: int, seed: int = 0, samples: int = 2) -> np.ndarray:
    """(sample, y, x, 1) of about 0 to 1"""
    return np.random.default_rng(seed).uniform(size=(samples, *sides, 1)).astype("f4")


def gradient_of(loss: Loss, hr: np.ndarray, downscaled: np.ndarray) -> tuple[float, np.ndarray]:
    variable = tf.Variable(downscaled)
    with tf.GradientTape() as tape:
        total, _ = weighted_sum(loss, tf.constant(hr), variable, tf.ones(hr.shape[1:])[None])
    return float(total), tape.gradient(total, variable).numpy()


ONES = field(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mae", 0.5 + 1 + 3 + 0),
        ("mse", 0.25 + 1 + 9 + 0),
        ("huber", 0.5 * 0.25 + 0.5 + (3 - 0.5) + 0),  # Huber (1964) with delta 1
        ("quantile", 0.1 * 0.5 + 0.9 * 1 + 0.1 * 3 + 0),  # too low costs 0.9, too high 0.1
    ],
)
def test_losses_by_hand(loss, expected):
    total, weight = weighted_sum(Loss(loss), field(1, 2, 0, 5), field(1.5, 1, 3, 5), ONES)
    assert float(total) == pytest.approx(expected)
    assert float(weight) == 4


def test_the_quantile_is_where_pinball_is_least():
    """Of 0 … 100, the field that costs least under quantile 0.75 is 75."""
    hr = tf.reshape(tf.range(101, dtype=tf.float32), (1, 101, 1, 1))
    costs = [
        float(weighted_sum(Loss("quantile", quantile=0.75), hr, tf.fill(hr.shape, float(guess)), tf.ones(hr.shape))[0])
        for guess in range(101)
    ]
    assert np.argmin(costs) == 75


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_zero_without_error_and_rise_with_it(name):
    hr, wrong = noise(24, 26), noise(24, 26, seed=1) - 0.5
    right, near, far = (
        float(weighted_sum(Loss(name), hr, hr + share * wrong, tf.ones((1, 24, 26, 1)))[0]) for share in (0, 0.3, 1)
    )
    assert right == pytest.approx(0, abs=1e-3)
    assert 0.1 < near < far


@pytest.mark.parametrize("mixture", MIXTURES)
def test_mixtures_are_the_sum_of_their_parts(mixture):
    """The weights that DL4DS names, and for the spectral loss one tenth."""
    expected = {
        "dssim_mae": {"dssim": 0.8, "mae": 0.2},
        "dssim_mse": {"dssim": 0.8, "mse": 0.2},
        "dssim_mae_mse": {"dssim": 0.6, "mae": 0.2, "mse": 0.2},
        "ms_dssim_mae": {"ms_dssim": 0.8, "mae": 0.2},
        "ms_dssim_mae_mse": {"ms_dssim": 0.6, "mae": 0.2, "mse": 0.2},
        "spectral": {"mae": 1.0, "log_spectrum": 0.1},
        "crps": {"fair_crps": 1.0, "spectral_crps": 0.1},
    }[mixture]
    hr, downscaled, weights = noise(24, 26), noise(24, 26, seed=1), noise(24, 26, seed=2, samples=1)
    parts = [share * weighted_sum(Loss(term), hr, downscaled, weights)[0] for term, share in expected.items()]
    assert float(weighted_sum(Loss(mixture), hr, downscaled, weights)[0]) == pytest.approx(float(sum(parts)), rel=1e-5)


@pytest.mark.parametrize("many", [2, 3, 5])
def test_crps_is_that_of_all_pairs_at_cells_and_at_wavenumbers(many):
    """mean |x - y| less half the mean |x - x'| over all pairs of two members, each in both orders."""
    hr, weights = noise(8, 10), noise(8, 10, seed=9, samples=1)
    hr[0, 2:4, 3] = NAN
    members = np.concatenate([noise(8, 10, seed=seed) for seed in range(1, many + 1)], axis=-1)

    def by_pairs(x, y):
        each = [x[..., [m]] for m in range(many)]
        return sum(abs(one - y) for one in each) / many - sum(abs(a - b) for a in each for b in each) / (
            2 * many * (many - 1)
        )

    def amplitudes(fields):
        return np.abs(np.fft.rfft2(np.where(np.isnan(hr), 0, fields), axes=(1, 2))) / np.sqrt(80)

    there = np.where(np.isnan(hr), 0, weights)
    at_cells = np.nansum(there * np.nan_to_num(by_pairs(members, hr)))
    of_spectra = by_pairs(amplitudes(members), amplitudes(hr)).mean(axis=(1, 2), keepdims=True)
    expected = at_cells + 0.1 * (there * of_spectra).sum()
    assert float(weighted_sum(Loss("crps"), hr, members, weights)[0]) == pytest.approx(expected, rel=1e-4)


def test_fair_crps_is_least_for_members_of_the_distribution_of_hr():
    """Of normal members with standard deviations from 0 to 2, those as wide as HR; plain CRPS of two would prefer 0.7.

    E|x - y| - E|x - x'| / 2 = √(2 / π) (√(1 + s²) - s / √2), with 2.4·10⁵ cells known to ±0.002.
    """
    rng = np.random.default_rng(0)
    hr = rng.normal(size=(1, 400, 600, 1)).astype("f4")
    members = rng.normal(size=(1, 400, 600, 2)).astype("f4")
    for width in (0.0, 0.5, 1.0, 1.5, 2.0):
        total, weight = weighted_sum(Loss("fair_crps"), hr, width * members, tf.ones((1, 400, 600, 1)))
        expected = np.sqrt(2 / np.pi) * (np.sqrt(1 + width**2) - width / np.sqrt(2))
        assert float(total / weight) == pytest.approx(expected, abs=0.005)


def test_cells_count_by_their_weight():
    total, weight = weighted_sum(Loss("mae"), field(1, 2, 0, 5), field(1.5, 1, 3, 5), field(2, 0.5, 1, 1))
    assert float(total) == pytest.approx(2 * 0.5 + 0.5 * 1 + 3)
    assert float(weight) == 4.5


def test_missing_cells_leave_loss_and_weight():
    total, weight = weighted_sum(Loss("mse"), field(1, NAN, 0, NAN), field(1.5, 1, 3, 5), field(2, 0.5, 1, 7))
    assert float(total) == pytest.approx(2 * 0.25 + 9)
    assert float(weight) == 3


@pytest.mark.parametrize("name", NAMES)
def test_without_any_value_there_is_no_loss(name):
    """Neither in a whole batch, nor in one sample of it."""
    hr, downscaled = noise(12, 13), noise(12, 13, seed=1)
    half = weighted_sum(Loss(name), hr[1:], downscaled[1:], tf.ones((1, 12, 13, 1)))
    hr[0] = NAN
    whole = weighted_sum(Loss(name), hr, downscaled, tf.ones((1, 12, 13, 1)))
    np.testing.assert_allclose(whole, half, rtol=1e-5)
    hr[1] = NAN
    np.testing.assert_array_equal(weighted_sum(Loss(name), hr, downscaled, tf.ones((1, 12, 13, 1))), [0, 0])


@pytest.mark.parametrize("loss", AT_CELLS)
def test_missing_cells_have_no_gradient(loss):
    downscaled = tf.Variable(field(1.5, 1, 3, 5))
    with tf.GradientTape() as tape:
        total, _ = weighted_sum(Loss(loss), field(1, NAN, 0, np.inf), downscaled, ONES)
    gradient = tape.gradient(total, downscaled).numpy().ravel()
    expected = {
        "mae": [1, 0, 1, 0],
        "mse": [2 * 0.5, 0, 2 * 3, 0],
        "huber": [0.5, 0, 1, 0],
        "quantile": [0.1, 0, 0.1, 0],
    }
    np.testing.assert_allclose(gradient, expected[loss])


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_missing_cells_does_not_matter(name):
    hr, downscaled = noise(24, 26), noise(24, 26, seed=1)
    missing = noise(24, 26, seed=2) < 0.3
    missing[:, :12, :12] = True  # wider than any window
    hr[missing] = NAN
    total, gradient = gradient_of(Loss(name), hr, downscaled)
    assert np.isfinite(gradient).all()
    assert not gradient[missing].any()
    assert np.abs(gradient[~missing]).min() > 0
    other, _ = gradient_of(Loss(name), hr, np.where(missing, 7, downscaled).astype("f4"))
    assert other == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("of_hr", "of_field"), [(0.4, 0.4), (0.4, 0.6), (0.0, 1.0)])
def test_constant_fields_have_finite_gradients(name, of_hr, of_field):
    sides = (2, 24, 26, 1)
    total, gradient = gradient_of(Loss(name), np.full(sides, of_hr, "f4"), np.full(sides, of_field, "f4"))
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in OF_FIELDS if name != "crps"])
def test_losses_of_whole_fields_do_not_depend_on_the_scaling(name):
    """But for their parts at cells: kelvin as they are, and scaled to mean zero and unit spread, are one field."""
    term = next(iter(Loss(name).parts)) if name != "spectral" else "log_spectrum"
    hr, downscaled = 270 + 30 * noise(24, 26), 270 + 30 * noise(24, 26, seed=1)
    found = []
    for scale in (ValueTransform(), ValueTransform(285.0, 8.0)):
        bounds = scale.forward(np.array([270.0, 300.0]))
        loss = Loss(term, low=bounds[0], span=bounds[1] - bounds[0])
        found.append(float(weighted_sum(loss, scale.forward(hr), scale.forward(downscaled), tf.ones(hr.shape))[0]))
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_a_loss_knows_the_range_of_the_training_part():
    normalizer = Normalizer(
        ValueTransform(10.0, 4.0), (), (), 1.0, 2.0, 22.0, True, np.ones((2, 2), bool), False, False
    )
    loss = Loss.of(TrainingOptions(loss="dssim", quantile=0.3), normalizer)
    assert loss == Loss(
        "dssim", quantile=0.3, low=-2.0, span=5.0, target=ValueTransform(10.0, 4.0)
    )  # (2 - 10) / 4 and (22 - 2) / 4


def test_one_set_of_weights_serves_the_whole_batch():
    hr, downscaled = tf.zeros((3, 2, 2, 1)), tf.ones((3, 2, 2, 1))
    total, weight = weighted_sum(Loss("mae"), hr, downscaled, field(1, 2, 3, 4))
    assert (float(total), float(weight)) == (30, 30)


@pytest.mark.parametrize("name", NAMES)
def test_batches_add_up_to_what_one_batch_finds(name):
    hr, downscaled = noise(12, 13, samples=6), noise(12, 13, seed=1, samples=6)
    hr[0, 0], hr[4, 1:9] = NAN, NAN  # the batches have different numbers of values
    weights = noise(12, 13, seed=2, samples=1)
    whole = weighted_sum(Loss(name), tf.constant(hr), tf.constant(downscaled), weights)
    halves = [weighted_sum(Loss(name), hr[part], downscaled[part], weights) for part in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(whole, np.sum(halves, axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_teaches_a_network(name):
    """One convolution finds most of the way from noise to the same noise, smoothed and with gaps."""
    keras.utils.set_random_seed(0)
    inputs = noise(24, 26, samples=4)
    hr = tf.nn.avg_pool2d(inputs, 3, 1, "SAME").numpy()
    hr[:, 5:9, 3:8] = NAN
    network = keras.Sequential([keras.layers.Conv2D(1, 3, padding="same")])
    network.build(inputs.shape)
    optimizer = keras.optimizers.Adam(0.05)
    loss, weights = Loss(name, low=0.2, span=0.6), tf.ones((1, 24, 26, 1))

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            total, weight = weighted_sum(loss, hr, network(inputs), weights)
            mean = total / weight
        optimizer.apply(tape.gradient(mean, network.trainable_variables), network.trainable_variables)
        return mean

    losses = [float(step()) for _ in range(80)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.3 * losses[0]
