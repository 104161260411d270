"""Shape of the data that a network is built for; known without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.data.samples import Samples
from engine.models.layers import Conv
from engine.spec import ModelOptions, TrainingOptions

DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS, DISCRIMINATOR_BLOCKS = 16, 32, 2

PARAMETERS = {"bernoulli_gamma": 3}  # of the distribution that a network gives with such a loss, in place of a field


@dataclass(frozen=True)
class Shape:
    """Sides of the LR field, channels of the inputs, static variables, and the scale.

    The first window · fields channels are the fields of each step of a time window, the sample's own step first; what
    follows is known of the sample as a whole: `vectors` channels of `data.cell_vectors`, and others. The last
    convolution makes `outputs` channels.
    has_features : these are features for other layers, neither a field nor the parameters of a distribution.
    targets : fields that are downscaled, two of a vector; LR of each comes first among the channels.
    wrap : where the last column lies beside the first one, LR columns of the other end that the network's layers are
        given beside each end; else 0.
    """

    y_lr: int
    x_lr: int
    channels: int
    static: int
    scale: int
    window: int = 1
    fields: int = 1
    outputs: int = 1
    wrap: int = 0
    has_features: bool = False
    vectors: int = 0
    targets: int = 1

    @classmethod
    def of(cls, samples: Samples, outputs: int = 1) -> Shape:
        """Shape of a network for these samples, gaps and all; `outputs` of a single target."""
        pairs, targets = samples.pairs, samples.targets
        window = samples.options.time_window, samples.inputs.fields, max(outputs, targets)
        sides = (*pairs.lr_grid.shape, samples.channels, len(pairs.static), pairs.scale, *window)
        return cls(*sides, vectors=samples.inputs.vectors.shape[-1], targets=targets)

    @property
    def has_distribution(self) -> bool:
        """True if the network makes the parameters of a distribution, in place of a field."""
        return self.outputs > self.targets and not self.has_features

    @property
    def channels_of_step(self) -> int:
        """Channels that a recurrent network sees at each step."""
        return self.channels - (self.window - 1) * self.fields

    @property
    def hr(self) -> tuple[int, int]:
        return self.y_lr * self.scale, self.x_lr * self.scale

    @property
    def wrapped(self) -> Shape:
        """Shape of what the layers work on: with the columns beside each end."""
        return replace(self, x_lr=self.x_lr + 2 * self.wrap, wrap=0)

    def piece(self, y_lr: int, x_lr: int) -> Shape:
        """Shape of a piece of the field; only one with all columns has others beside it."""
        return replace(self, y_lr=y_lr, x_lr=x_lr, wrap=self.wrap if x_lr == self.x_lr else 0)


def outputs_of(loss: str) -> int:
    """Channels that the network's last convolution makes."""
    return PARAMETERS.get(loss, 1)


def members_of(options: TrainingOptions) -> int:
    """Predictions of each sample that a step of training compares with HR."""
    return options.members if options.loss == "crps" else 1


def is_recurrent(options: ModelOptions, shape: Shape) -> bool:
    return shape.window > 1 and options.temporal == "recurrent"


def count_discriminator(shape: Shape) -> int:
    """Weights of the discriminator that adversarial training needs beside the network, by hand."""
    m, n = DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS
    onto_lr = (shape.scale**2 * m + 1) * n
    return _conv(1, m) + onto_lr + _conv(n + shape.channels, n) + 2 * DISCRIMINATOR_BLOCKS * _conv(n, n) + _conv(n, 1)


def _conv(channels: int, filters: int) -> int:
    return Conv("", filters).parameters(channels)
