"""Each block by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.signal import correlate2d
from scipy.special import expit

from engine.data.resample import interpolate
from engine.models import blocks
from engine.models.backbones.parts import activated, dropout, normalization
from engine.models.backbones.resnet import resnet
from engine.models.keras_layers import apply
from engine.models.layers import ChannelAttention
from engine.spec import ModelOptions


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_localized_has_weights_for_each_cell():
    layer = blocks.Localized()
    x = values(2, 3, 4, 5)
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, 3, 4, 1)
    assert not layer(x).numpy().any()  # weights start at zero
    weight, bias = values(3, 4, 5, seed=1), values(3, 4, 1, seed=2)
    layer.set_weights([weight, bias])
    expected = np.array(
        [[[[x[n, i, j] @ weight[i, j] + bias[i, j, 0]] for j in range(4)] for i in range(3)] for n in range(2)]
    )
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_localized_tells_places_apart():
    layer = blocks.Localized()
    x = np.ones((1, 2, 2, 1), np.float32)
    layer(x)
    layer.set_weights([np.float32([[[1], [2]], [[3], [4]]]), np.float32([[[0], [10]], [[20], [30]]])])
    assert layer(x).numpy()[0, ..., 0].tolist() == [[1, 12], [23, 34]]


def test_sub_pixel_by_hand():
    # Shi et al. (2016), eq. 4: channel f (i mod f) + (j mod f) of the LR cell goes to HR cell (i, j).
    x = np.arange(1 * 2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    y = blocks.SubPixel(2)(x).numpy()
    assert y.shape == blocks.SubPixel(2).compute_output_shape(x.shape) == (1, 4, 6, 1)
    for i in range(4):
        for j in range(6):
            assert y[0, i, j, 0] == x[0, i // 2, j // 2, 2 * (i % 2) + j % 2]


def test_sub_pixel_keeps_several_channels_apart():
    x = values(2, 2, 2, 18)
    y = blocks.SubPixel(3)(x).numpy()  # (2, 6, 6, 2)
    assert y.shape == (2, 6, 6, 2)
    np.testing.assert_array_equal(y[:, 1, 2, :], x[:, 0, 0, [10, 11]])  # (1 × 3 + 2) × 2 channels
    assert blocks.SubPixel(3).compute_output_shape((None, None, 2, 18)) == (None, None, 6, 2)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolation_is_that_of_the_baseline(kernel):
    lr = values(2, 5, 7)
    layer = blocks.Interpolation(3, kernel)
    upsampled = layer(lr[..., None])
    assert upsampled.shape == layer.compute_output_shape((2, 5, 7, 1)) == (2, 15, 21, 1)
    np.testing.assert_allclose(upsampled[..., 0], interpolate(lr, 3, kernel), rtol=1e-5, atol=1e-6)


def test_spread_gives_static_variables_to_each_sample():
    static = values(1, 2, 3, 2)
    spread = blocks.Spread()([static, values(4, 9, 9, 1)]).numpy()
    np.testing.assert_array_equal(spread, np.repeat(static, 4, axis=0))
    each = values(4, 2, 3, 2)
    np.testing.assert_array_equal(blocks.Spread()([each, values(4, 9, 9, 1)]), each)
    assert blocks.Spread().compute_output_shape([(1, 2, 3, 2), (None, 9, 9, 1)]) == (None, 2, 3, 2)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", [-1.5, -1.5, 2.0]), ("softplus", [-1.5 + np.log1p(np.exp(-1.0)), -1.5 + np.log(2), -1.5 + 3.5297504])],
)
def test_a_bound_is_at_the_scaled_zero(activation, expected):
    # softplus(3.5) = log(1 + e^3.5) = 3.5297504
    y = blocks.Bound(activation, -1.5)(np.float32([-2.5, -1.5, 2.0]))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_channel_attention_weighs_channels_by_their_means():
    x = values(2, 3, 4, 8)
    inputs = keras.Input((3, 4, 8))
    model = keras.Model(inputs, apply([ChannelAttention("a")], inputs))
    w1, b1, w2, b2 = model.get_weights()
    assert (w1.shape, w2.shape) == ((8, 2), (2, 8))
    b1, b2 = values(2, seed=1), values(8, seed=2)
    model.set_weights([w1, b1, w2, b2])
    hidden = np.maximum(x.mean(axis=(1, 2)) @ w1 + b1, 0)
    weights = expit(hidden @ w2 + b2)
    np.testing.assert_allclose(model(x), x * weights[:, None, None, :], rtol=1e-5, atol=1e-6)


def test_a_residual_block_adds_to_its_input():
    x = values(2, 4, 4, 4)
    inputs = keras.Input((4, 4, 4))
    options = ModelOptions(n_filters=4, activation="relu")
    model = keras.Model(inputs, apply(resnet(options).blocks[0].layers, inputs))
    first, second = model.get_layer("block1_first"), model.get_layer("block1_second")
    second.set_weights([np.zeros((3, 3, 4, 4)), np.zeros(4)])
    np.testing.assert_array_equal(model(x), x)
    # The first convolution hands its centre on, twice; after the activation the second adds half of each.
    kernel = np.zeros((3, 3, 4, 4))
    kernel[1, 1] = np.eye(4)
    first.set_weights([2 * kernel, np.zeros(4)])
    second.set_weights([kernel / 2, np.ones(4)])
    np.testing.assert_allclose(model(x), x + np.maximum(2 * x, 0) / 2 + 1, rtol=1e-6)


def test_a_convolution_keeps_the_sides_with_zeros_beyond():
    conv = blocks.convolution(1, "c")
    conv.build((None, None, None, 1))
    conv.set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
    assert conv(np.ones((1, 3, 4, 1))).numpy()[0, ..., 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("vanilla", "Dropout"),
        ("gaussian", "GaussianDropout"),
        ("spatial", "SpatialDropout2D"),
        ("mc_vanilla", "MonteCarloDropout"),
        ("mc_gaussian", "MonteCarloGaussianDropout"),
        ("mc_spatial", "MonteCarloSpatialDropout"),
    ],
)
def test_dropout_variants(variant, kind):
    inputs = keras.Input((4, 4, 3))
    options = ModelOptions(dropout_rate=0.5, dropout_variant=variant)
    model = keras.Model(inputs, apply(dropout(options, "d"), inputs))
    assert type(model.get_layer("d")).__name__ == kind
    x = np.ones((8, 4, 4, 3), np.float32)
    np.testing.assert_array_equal(model(x, training=False), x)
    dropped = model(x, training=True).numpy()
    assert (dropped != x).any()
    per_map = dropped.reshape(8, 16, 3)
    if variant.endswith("spatial"):  # whole channels at once
        assert (per_map == per_map[:, :1]).all()
    else:
        assert (per_map != per_map[:, :1]).any()
    assert dropout(ModelOptions(dropout_rate=0.0), "e") == []


@pytest.mark.parametrize("variant", ["vanilla", "mc_vanilla", "mc_gaussian", "mc_spatial"])
def test_only_monte_carlo_dropout_is_drawn_in_prediction(variant):
    inputs = keras.Input((4, 4, 3))
    options = ModelOptions(dropout_rate=0.5, dropout_variant=variant, normalization="batch")
    network = keras.Model(inputs, apply(activated(options, "b"), inputs))
    x = np.abs(values(8, 4, 4, 3))
    plain = network(x, training=False).numpy()
    with blocks.drawn(network):
        draws = [network(x, training=False).numpy() for _ in range(200)]
    np.testing.assert_array_equal(network(x, training=False), plain)
    if variant == "vanilla":
        np.testing.assert_array_equal(draws[0], plain)
        return
    assert (draws[0] != draws[1]).any()
    # Each activation's factor has mean 1 and standard deviation √(p / (1 - p)) = 1, so that the mean of 200 draws is
    # off by √(1 / 200) = 0.07 of its value; running statistics, not those of the batch, normalise.
    np.testing.assert_allclose(np.mean(draws, axis=0), plain, rtol=5 * 0.0707)
    np.testing.assert_allclose(np.std(draws, axis=0) / plain, 1, atol=0.35)


def test_time_steps_come_in_order_of_time():
    # Two fields (tens) at steps 0 to 4 (units); the own step, 2, stands first; then 7 and 8, known of the sample.
    channels = [2, 12, 0, 10, 1, 11, 3, 13, 4, 14, 7, 8]
    x = np.broadcast_to(np.float32(channels), (3, 2, 1, 12)) + np.float32([0, 100, 200])[:, None, None, None]
    layer = blocks.TimeSteps(window=5, fields=2)
    steps = layer(x).numpy().reshape(5, 3, 2, 1, 4)
    for step in range(5):
        for sample in range(3):
            expected = np.float32([step, 10 + step, 7, 8]) + 100 * sample
            assert (steps[step, sample] == expected).all()
    assert layer.compute_output_shape((3, 2, 1, 12)) == (15, 2, 1, 4)
    assert layer.compute_output_shape((None, None, None, 12)) == (None, None, None, 4)
    own = blocks.OwnStep(5)
    np.testing.assert_array_equal(own(layer(x)), steps[2])
    assert own.compute_output_shape((15, 2, 1, 4)) == (3, 2, 1, 4)


def conv_by_hand(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """SciPy's correlation, summed over the channels: (y, x, a), (3, 3, a, b) → (y, x, b)."""
    maps = [
        [correlate2d(x[..., a], kernel[..., a, b], "same") for a in range(x.shape[-1])]
        for b in range(len(kernel[0, 0, 0]))
    ]
    return np.stack([np.sum(each, axis=0) for each in maps], axis=-1)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("window", [3, 5])
def test_a_convolutional_lstm_by_hand(window, backward):
    steps = values(window, 2, 4, 3, 2)  # (time, batch, y, x, channels)
    layer = blocks.ConvLSTM(3, window, backward)
    flat = steps.reshape(-1, 4, 3, 2)
    layer(flat)
    kernel, recurrent, bias = values(3, 3, 2, 12, seed=1), values(3, 3, 3, 12, seed=2), values(12, seed=3)
    layer.set_weights([kernel, recurrent, bias])
    middle = window // 2
    order = range(window - 1, middle - 1, -1) if backward else range(middle + 1)
    for sample in range(2):
        hidden = cell = np.zeros((4, 3, 3))
        for step in order:
            gates = conv_by_hand(steps[step, sample], kernel) + conv_by_hand(hidden, recurrent) + bias
            enter, forget, new, out = np.split(gates, 4, axis=-1)
            cell = expit(forget + 1) * cell + expit(enter) * np.tanh(new)
            hidden = expit(out) * np.tanh(cell)
        np.testing.assert_allclose(layer(flat)[sample], hidden, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(flat.shape) == (2, 4, 3, 3)


def test_normalization():
    x = 5 + 3 * values(16, 4, 4, 6)
    inputs = keras.Input((4, 4, 6))
    batch = keras.Model(inputs, apply(normalization(ModelOptions(normalization="batch"), "n"), inputs))
    y = batch(x, training=True).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-3)
    # Running mean after one step with momentum 0.9: a tenth of the batch's.
    np.testing.assert_allclose(batch.get_layer("n").moving_mean, 0.1 * x.mean(axis=(0, 1, 2)), rtol=1e-4)
    layer = keras.Model(inputs, apply(normalization(ModelOptions(normalization="layer"), "n"), inputs))
    np.testing.assert_allclose(layer(x).numpy().mean(axis=-1), 0, atol=1e-5)
    assert normalization(ModelOptions(), "n") == []


def test_blocks_work_in_graphs_of_any_size():
    step = tf.function(lambda x: blocks.SubPixel(2)(x), input_signature=[tf.TensorSpec((None, None, None, 4))])
    assert step(tf.zeros((1, 2, 3, 4))).shape == (1, 4, 6, 1)
    assert step(tf.zeros((2, 5, 1, 4))).shape == (2, 10, 2, 1)
