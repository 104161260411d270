"""Samples for the network: in which order they come, and their normalized arrays.

Deciding (`Shuffle.epoch`) stands apart from loading (`Samples.load`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.data.input_channels import InputChannels
from engine.data.normalizer import Normalizer
from engine.data.pairs import FieldBlock, Pairs
from engine.data.times import in_blocks
from engine.spec import DataOptions, Spec

CELLS_AT_ONCE = 1_000_000  # of HR, in what is read at once: 4 MB as float32


@dataclass(frozen=True)
class Samples:
    """One part (training, validation or test) of the pairs, normalized.

    with_areas : add `masked_areas` to `static`, which a constraint and drawn residuals need.
    with_vectors : of `InputChannels`.
    """

    pairs: Pairs
    normalizer: Normalizer
    options: DataOptions
    steps: np.ndarray
    with_areas: bool = False
    with_vectors: bool = False

    @classmethod
    def of(cls, spec: Spec, pairs: Pairs, normalizer: Normalizer, steps: np.ndarray) -> Samples:
        with_areas = spec.model.constraint != "none" or spec.draws_residuals
        return cls(pairs, normalizer, spec.data, steps, with_areas, spec.has_vectors)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def targets(self) -> int:
        """Number of fields that are downscaled: two of a vector, else one."""
        return len(self.normalizer.components)

    @property
    def components(self) -> tuple[Samples, ...]:
        """Itself; of a vector, the samples with each component first."""
        if self.targets == 1:
            return (self,)
        return self, dataclasses.replace(self, pairs=self.pairs.swapped, normalizer=self.normalizer.swapped)

    @cached_property
    def inputs(self) -> InputChannels:
        return InputChannels(self.pairs, self.normalizer, self.options, self.with_vectors)

    @property
    def channels(self) -> int:
        """Number of channels of the inputs at LR."""
        return len(self.inputs)

    @property
    def bytes_in_memory(self) -> int:
        """Size of the whole part, loaded."""
        (y, x), (y_lr, x_lr) = self.pairs.hr_grid.shape, self.pairs.lr_grid.shape
        return 4 * len(self) * (self.targets * y * x + y_lr * x_lr * self.channels)

    @cached_property
    def static(self) -> np.ndarray:
        """Static variables (y, x, variables), normalized; missing becomes 0, the mean."""
        pairs = zip(self.normalizer.static, self.pairs.static, strict=True)
        fields = [np.nan_to_num(transform.forward(field.values)) for transform, field in pairs]
        fields += [self.masked_areas] if self.with_areas else []
        return np.stack(fields, axis=-1) if fields else np.zeros((*self.pairs.hr_grid.shape, 0), np.float32)

    @cached_property
    def areas(self) -> np.ndarray:
        """Area of each HR cell (y, x) over the mean area: the weight of a cell in the loss."""
        areas = self.pairs.hr_grid.cell_areas()
        return (areas / areas.mean()).astype(np.float32)

    @property
    def masked_areas(self) -> np.ndarray:
        """`areas` (y, x) where the field is downscaled, else 0: the weight of a cell in its LR cell's mean."""
        return np.where(self.normalizer.mask, self.areas, np.float32(0))

    def load(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Load inputs and HR of some samples of this part.

        Returns
        -------
        inputs : (sample, y_lr, x_lr, channels) of `InputChannels.stack`.
        hr : (sample, y, x, targets) normalized, NaN where missing.
        """
        inputs, block = self.read(rows)
        if block.base is not None:
            block = dataclasses.replace(block, hr=block.hr - block.base)
        hr = [each.target.forward(of.hr) for each, of in zip(self.normalizer.components, block.components, strict=True)]
        return inputs, np.stack(hr, axis=-1)

    def load_patches(self, plan: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Load patches; of large fields only a few are in memory as a whole at a time.

        Parameters
        ----------
        plan : (sample, 3), as a step of `Shuffle.epoch`; side : of a patch, in LR cells.
        """
        hr_side = side * self.pairs.scale
        inputs = np.empty((len(plan), side, side, self.channels), np.float32)
        hr = np.empty((len(plan), hr_side, hr_side, self.targets), np.float32)
        for rows in in_blocks(np.unique(plan[:, 0]), self.pairs.hr_grid.shape, CELLS_AT_ONCE):
            fields = self.load(rows)
            for number in np.flatnonzero(np.isin(plan[:, 0], rows)):
                row, y, x = plan[number]
                whole_inputs, whole_hr = (field[np.searchsorted(rows, row)] for field in fields)
                inputs[number] = whole_inputs[y : y + side].take(range(x, x + side), axis=1, mode="wrap")
                y, x = y * self.pairs.scale, x * self.pairs.scale
                hr[number] = whole_hr[y : y + hr_side].take(range(x, x + hr_side), axis=1, mode="wrap")
        return inputs, hr

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, FieldBlock]:
        """Read inputs as `load` gives them, and the fields of the samples' own time steps in their units."""
        steps, windows = self.steps[rows], self.inputs.window(self.steps[rows])
        needed, index = np.unique(windows, return_inverse=True)
        block = self.pairs.read(needed)
        index = index.reshape(windows.shape)
        centre = block.take(index[:, self.options.time_window // 2])
        if anomalies := self.normalizer.anomalies:
            times = self.pairs.times
            lr, predictors = anomalies.of_lr(block.lr, block.predictors, times.isel(time=needed))
            block = dataclasses.replace(block, lr=lr, predictors=predictors)
            base = anomalies.base(times.isel(time=steps), self.pairs)
            centre = dataclasses.replace(centre, base=base)
        return self.inputs.stack(block, index, steps), centre

    def load_all(self) -> tuple[np.ndarray, np.ndarray]:
        """Load the whole part, some samples at a time, so that nothing larger than itself is in memory."""
        inputs = np.empty((len(self), *self.pairs.lr_grid.shape, self.channels), np.float32)
        hr = np.empty((len(self), *self.pairs.hr_grid.shape, self.targets), np.float32)
        for rows in in_blocks(np.arange(len(self)), self.pairs.hr_grid.shape, CELLS_AT_ONCE):
            inputs[rows], hr[rows] = self.load(rows)
        return inputs, hr


@dataclass(frozen=True)
class Shuffle:
    """Plan of which rank takes which samples: the same global order for any number of ranks.

    rows : number of samples in the part; lr_shape : (y_lr, x_lr).
    patch_lr : side of a patch in LR cells, 0 for whole fields.
    steps_per_epoch : 0 for one pass over the part; else passes follow each other across the ends of epochs.
    periodic : a patch may begin at any column, and go on with the first ones after the last.
    """

    rows: int
    lr_shape: tuple[int, int]
    patch_lr: int
    batch_size: int
    seed: int
    rank: int = 0
    size: int = 1
    steps_per_epoch: int = 0
    periodic: bool = False

    @classmethod
    def of(
        cls, spec: Spec, rows: int, lr_shape: tuple[int, int], rank: int = 0, size: int = 1, periodic: bool = False
    ) -> Shuffle:
        patch_lr, options = spec.data.patch_size // spec.data.scale, spec.training
        planned = (options.batch_size, options.seed, rank, size, options.steps_per_epoch)
        return cls(rows, lr_shape, patch_lr, *planned, periodic)

    @property
    def steps(self) -> int:
        """Number of steps of one epoch, the same on every rank; samples that fill no batch are left out of it."""
        return self.steps_per_epoch or max(1, self.rows // (self.batch_size * self.size))

    def epoch(self, number: int) -> np.ndarray:
        """Plan an epoch (step, sample, 3): row of the part, first LR row and first LR column of the patch."""
        rng = np.random.default_rng([self.seed, number])
        total = self.steps * self.batch_size * self.size
        rows = (
            self._endless_rows(number, total) if self.steps_per_epoch else np.resize(rng.permutation(self.rows), total)
        )
        spare = [side - self.patch_lr if self.patch_lr else 0 for side in self.lr_shape]
        if self.patch_lr and self.periodic:
            spare[1] = self.lr_shape[1] - 1
        corners = [rng.integers(0, free + 1, total) for free in spare]
        plan = np.stack([rows, *corners], axis=-1).reshape(self.steps, self.size, self.batch_size, 3)
        return plan[:, self.rank].astype(np.int32)

    def _endless_rows(self, number: int, total: int) -> np.ndarray:
        """Cut the epoch out of an endless sequence of passes over the part, each in an order of its own."""
        first, last = divmod(number * total, self.rows), ((number + 1) * total - 1) // self.rows
        passes = [np.random.default_rng([self.seed, k, 1]).permutation(self.rows) for k in range(first[0], last + 1)]
        return np.concatenate(passes)[first[1] : first[1] + total]
