"""What a network is built for, and how many weights it will have; known without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from engine.data.samples import Samples
from engine.spec import ModelOptions, Spec

Weights = tuple[int, list[int]]  # of the entry, and of each block
KERNEL = 9  # cells of a 3 × 3 convolution
DENSE_LAYERS = 3  # convolutions of a dense block
UNET_LEVELS = 4  # at most so often a U-Net halves the sides
UNET_WIDEST = 4  # times n_filters
DEPTHWISE_SIDE = 7  # cells; Liu et al. (2022), section 2.5
WIDENING = 4  # ibid., section 2.4
DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS, DISCRIMINATOR_BLOCKS = 16, 32, 2
STATES = 12  # tensors that a step of the recurrence keeps for its gradient, each as wide as the hidden state
OPTIMIZER_COPIES = 4  # weights, gradients, and Adam's two moments
ATTENTION_RATIO = 4  # channels per hidden unit of channel attention (Hu et al. 2018 use 16, on wider networks)


PARAMETERS = {"bernoulli_gamma": 3}  # of the distribution that a network gives with such a loss, in place of a field


@dataclass(frozen=True)
class Shape:
    """Sides of the LR field, channels of the inputs, static variables, and the scale.

    The first window · fields channels are the fields of each step of a time window, the sample's own step first; what
    follows is known of the sample as a whole. The last convolution makes `outputs` channels.
    """

    y_lr: int
    x_lr: int
    channels: int
    static: int
    scale: int
    window: int = 1
    fields: int = 1
    outputs: int = 1

    @classmethod
    def of(cls, samples: Samples, outputs: int = 1) -> Shape:
        """Of a network for these samples, gaps and all."""
        pairs, window = samples.pairs, (samples.options.time_window, samples.fields)
        return cls(*pairs.lr_grid.shape, samples.channels, len(pairs.static), pairs.scale, *window, outputs)

    @property
    def channels_of_step(self) -> int:
        """Channels that a recurrent network sees at each step."""
        return self.channels - (self.window - 1) * self.fields

    @property
    def hr(self) -> tuple[int, int]:
        return self.y_lr * self.scale, self.x_lr * self.scale


def outputs_of(loss: str) -> int:
    """Channels that the network's last convolution makes."""
    return PARAMETERS.get(loss, 1)


def stages(scale: int) -> list[int]:
    """The prime factors of a scale, the smallest first: upsampling goes in that many stages."""
    factors, rest, factor = [], scale, 2
    while rest > 1:
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
        factor += 1
    return factors


def hr_filters(options: ModelOptions) -> int:
    """Channels at HR: an HR layer costs scale² times an LR layer, so they are half as many."""
    return max(4, options.n_filters // 2)


def is_recurrent(options: ModelOptions, shape: Shape) -> bool:
    return shape.window > 1 and options.temporal == "recurrent"


def hidden_filters(options: ModelOptions) -> int:
    """Channels of the hidden state of each direction of the recurrence: together as many as the backbone has."""
    return max(4, options.n_filters // 2)


def count_parameters(options: ModelOptions, shape: Shape) -> dict[str, int]:
    """Trainable weights of each part of the network, by hand."""
    n, m = options.n_filters, hr_filters(options)
    before_tail = n if options.upsampling == "pin" else m
    y, x = shape.hr
    recurrent = is_recurrent(options, shape)
    channels = shape.channels_of_step if recurrent else shape.channels
    entry, blocks = BACKBONE_WEIGHTS[options.backbone](options, channels + shape.static)
    return {
        "entry": entry,
        "recurrence": _recurrence(options) if recurrent else 0,
        "backbone": sum(blocks),
        "upsampling": sum(upsampling_weights(options, shape.scale)),
        "tail": _conv(before_tail + shape.static, m),
        "output": _conv(m, shape.outputs),
        "localized": y * x * (m + 1) * shape.outputs if options.localized else 0,
    }


def count_discriminator(shape: Shape) -> int:
    """Weights of the discriminator that adversarial training needs beside the network, by hand."""
    m, n = DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS
    onto_lr = (shape.scale**2 * m + 1) * n
    return _conv(1, m) + onto_lr + _conv(n + shape.channels, n) + 2 * DISCRIMINATOR_BLOCKS * _conv(n, n) + _conv(n, 1)


def block_weights(options: ModelOptions) -> list[int]:
    """Trainable weights of each block of the backbone; of a U-Net, of each level down, its bottom, and each up."""
    _, blocks = BACKBONE_WEIGHTS[options.backbone](options, 1)
    return blocks


def upsampling_weights(options: ModelOptions, scale: int) -> list[int]:
    """Trainable weights of each stage; none with pin."""
    if options.upsampling == "pin":
        return []
    m, weights, width = hr_filters(options), [], int(options.n_filters)
    for factor in stages(scale):
        each = {"spc": _conv(width, m * factor**2), "rc": _conv(width, m), "dc": (2 * factor) ** 2 * width * m + m}
        weights.append(each[options.upsampling])
        width = m
    return weights


def growth(options: ModelOptions) -> int:
    """Channels that each layer of a dense block adds."""
    return max(4, options.n_filters // 2)


def unet_widths(options: ModelOptions) -> list[int]:
    """Channels at each level of a U-Net, from the sides of its input down to the bottom."""
    levels = min(int(options.n_blocks), UNET_LEVELS)
    return [options.n_filters * min(2**level, UNET_WIDEST) for level in range(levels + 1)]


def activation_bytes(options: ModelOptions, shape: Shape, batch_size: int) -> int:
    """Activations kept for the gradient of one step: those of each block, of each stage, and four at HR."""
    n, m = options.n_filters, hr_filters(options)
    cells, at_hr = shape.y_lr * shape.x_lr, shape.y_lr * shape.x_lr * shape.scale**2
    per_block = {"densenet": 3 * DENSE_LAYERS, "convnext": 3 + 2 * WIDENING, "unet": 6}.get(options.backbone, 3)
    total = n * (2 + per_block * options.n_blocks)
    if is_recurrent(options, shape):
        total += shape.window * (shape.channels_of_step + 2 * n)
        total += (shape.window + 1) * STATES * hidden_filters(options)
    total *= at_hr if options.upsampling == "pin" else cells
    for factor in [] if options.upsampling == "pin" else stages(shape.scale):
        cells *= factor * factor
        total += 2 * cells * m
    return 4 * batch_size * (total + at_hr * (3 * m + shape.static + 4))


def prediction_bytes(options: ModelOptions, shape: Shape, samples: int) -> int:
    """Activations of so many samples that are there at once in prediction: those of the widest block, or at HR."""
    n, m, cells, at_hr = options.n_filters, hr_filters(options), shape.y_lr * shape.x_lr, shape.hr[0] * shape.hr[1]
    widest = {
        "densenet": 2 * (n + DENSE_LAYERS * growth(options)),
        "convnext": n * (1 + 2 * WIDENING),
        "unet": n * (3 + UNET_LEVELS),
    }.get(options.backbone, 4 * n)
    if is_recurrent(options, shape):
        seen = shape.window // 2 + 1
        widest = max(
            widest, shape.window * (shape.channels_of_step + n), shape.window * n + 9 * seen * hidden_filters(options)
        )
    ends = at_hr * (4 * m + shape.channels + 2 * shape.static + 4)
    pinned = options.upsampling == "pin"
    return 4 * samples * (max(ends, at_hr * widest) if pinned else max(ends, cells * widest))


def discriminator_bytes(shape: Shape, batch_size: int) -> int:
    """Activations of the discriminator kept for the gradient of one step: of real and of downscaled fields."""
    m, n, cells = DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS, shape.y_lr * shape.x_lr
    at_lr = n * (4 + 5 * DISCRIMINATOR_BLOCKS) + 2 * shape.channels
    return 4 * 2 * batch_size * cells * (shape.scale**2 * (2 * m + 5) + at_lr)


def training_bytes(spec: Spec, shape: Shape) -> int:
    """What training takes beside the data: weights with gradients and moments, and activations of a step, twice."""
    patch, batch_size = spec.data.patch_size // spec.data.scale, spec.training.batch_size
    step = replace(shape, y_lr=patch, x_lr=patch) if patch else shape
    parameters = sum(count_parameters(spec.model, shape).values())
    activations = activation_bytes(spec.model, step, batch_size)
    if spec.training.learning == "adversarial":
        parameters += count_discriminator(shape)
        activations += discriminator_bytes(step, batch_size)
    return 4 * OPTIMIZER_COPIES * parameters + 2 * activations


def _conv(channels: int, filters: int) -> int:
    return (KERNEL * channels + 1) * filters


def _recurrence(options: ModelOptions) -> int:
    """Four gates of both directions, from features and hidden state, and the convolution that joins them."""
    n, h = options.n_filters, hidden_filters(options)
    return 2 * _conv(n + h, 4 * h) + (2 * h + 1) * n


def _convnet(options: ModelOptions, channels: int) -> Weights:
    n = options.n_filters
    block = _plain(options, n, n) + _attention(options, n)
    return _conv(channels, n), options.n_blocks * [block]


def _resnet(options: ModelOptions, channels: int) -> Weights:
    n = options.n_filters
    block = 2 * _plain(options, n, n) + _attention(options, n)
    return _conv(channels, n), options.n_blocks * [block]


def _densenet(options: ModelOptions, channels: int) -> Weights:
    n, g = options.n_filters, growth(options)
    dense = sum(_plain(options, n + layer * g, g) for layer in range(DENSE_LAYERS))
    transition = (n + DENSE_LAYERS * g + 1) * n
    block = dense + transition + _attention(options, n)
    return _conv(channels, n), options.n_blocks * [block]


def _convnext(options: ModelOptions, channels: int) -> Weights:
    n = options.n_filters
    depthwise = (DEPTHWISE_SIDE**2 + 1) * n + _normalization(options, n)
    bottleneck = (n + 1) * WIDENING * n + (WIDENING * n + 1) * n + n
    return _conv(channels, n), options.n_blocks * [depthwise + bottleneck + _attention(options, n)]


def _unet(options: ModelOptions, channels: int) -> Weights:
    first, *_ = widths = unet_widths(options)
    entry = _conv(channels, first) + _normalization(options, first)
    top = _plain(options, first, first) + _attention(options, first)
    down = [_twice(options, a, b) for a, b in pairwise(widths)]
    up = [_twice(options, small + skip, skip) for skip, small in pairwise(widths)]
    return entry, [top, *down, *reversed(up)]


# from options and channels of the input
BACKBONE_WEIGHTS: dict[str, Callable[[ModelOptions, int], Weights]] = {
    "resnet": _resnet,
    "convnet": _convnet,
    "densenet": _densenet,
    "convnext": _convnext,
    "unet": _unet,
}


def _twice(options: ModelOptions, channels: int, filters: int) -> int:
    return _plain(options, channels, filters) + _plain(options, filters, filters) + _attention(options, filters)


def _plain(options: ModelOptions, channels: int, filters: int) -> int:
    convolution = KERNEL * channels + (channels + 1) * filters if options.separable else _conv(channels, filters)
    return convolution + _normalization(options, filters)


def _normalization(options: ModelOptions, channels: int) -> int:
    return 0 if options.normalization == "none" else 2 * channels


def _attention(options: ModelOptions, channels: int) -> int:
    hidden = max(1, channels // ATTENTION_RATIO)
    return (channels + 1) * hidden + (hidden + 1) * channels if options.attention else 0
