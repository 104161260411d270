"""Channels of the network's inputs: normalized fields of a time window, vectors between cells, time features, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.data import cell_vectors
from engine.data.gaps import fill_missing
from engine.data.normalizer import Normalizer
from engine.data.pairs import FieldBlock, Pairs
from engine.data.station_inputs import CHANNELS, station_inputs
from engine.data.times import segment_numbers, time_features, window
from engine.spec import DataOptions


@dataclass(frozen=True)
class InputChannels:
    """Channels of the inputs, made of the fields of one part of the pairs.

    Their order: LR (of a vector, of both components) and each predictor, for the sample's own time step and then for
    the others of the time window; then `vectors`; then time features; then those of `station_inputs`; then, where LR
    has gaps, 1 where LR has a value.
    with_vectors : add the vectors of `engine.data.cell_vectors`, which message passing needs.
    """

    pairs: Pairs
    normalizer: Normalizer
    options: DataOptions
    with_vectors: bool = False

    def __len__(self) -> int:
        return self.stations.stop + int(self.normalizer.lr_has_gaps)

    @property
    def stations(self) -> slice:
        """Channels that are made of stations; none where the run has no stations."""
        first = self.options.time_window * self.fields + self.vectors.shape[-1] + self._features.shape[1]
        return slice(first, first + (CHANNELS if self.normalizer.stations else 0))

    @property
    def fields(self) -> int:
        """Number of fields of one time step: LR and predictors."""
        return len(self.normalizer.components) + len(self.pairs.predictors)

    @cached_property
    def vectors(self) -> np.ndarray:
        """Vectors from each LR cell to the next ones (y_lr, x_lr, channels); without `with_vectors` no channels."""
        grid = self.pairs.lr_grid
        return cell_vectors.cell_vectors(grid) if self.with_vectors else np.zeros((*grid.shape, 0), np.float32)

    def window(self, steps: np.ndarray) -> np.ndarray:
        """Steps (sample, time_window) around each of `steps`."""
        return window(steps, self.options.time_window, self._segments)

    def stack(self, block: FieldBlock, index: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Stack the channels of some samples.

        Parameters
        ----------
        block : fields of the time steps of all windows; index : (sample, time_window), numbers into it.
        steps : (sample,) each sample's own time step.

        Returns
        -------
        (sample, y_lr, x_lr, channels) normalized, nothing missing.
        """
        each = zip(self.normalizer.components, block.components, strict=True)
        fields = [normalizer.target.forward(of.lr) for normalizer, of in each]
        fields += [
            transform.forward(block.predictors[..., n]) for n, transform in enumerate(self.normalizer.predictors)
        ]
        filled = np.stack([np.nan_to_num(fill_missing(field, self.pairs.periodic)) for field in fields], axis=-1)
        middle = index.shape[1] // 2
        window_order = np.argsort(np.arange(index.shape[1]) != middle, kind="stable")
        windows = np.moveaxis(filled[index[:, window_order]], 1, 3)  # (sample, y, x, window, field)
        channels = [windows.reshape(*windows.shape[:3], -1)]
        channels.append(np.broadcast_to(self.vectors, (*windows.shape[:3], self.vectors.shape[-1])))
        features = self._features[steps]
        channels.append(np.broadcast_to(features[:, None, None, :], (*windows.shape[:3], features.shape[1])))
        if scaling := self.normalizer.stations:
            lr = filled[index[:, middle], ..., 0]
            channels.append(station_inputs(scaling, self.normalizer.target, lr, self.pairs, steps))
        if self.normalizer.lr_has_gaps:
            channels.append(np.isfinite(block.lr[index[:, middle]])[..., None])
        return np.concatenate(channels, axis=-1, dtype=np.float32)

    @cached_property
    def _segments(self) -> np.ndarray:
        return segment_numbers(self.pairs.times)

    @cached_property
    def _features(self) -> np.ndarray:
        return time_features(self.pairs.times, self.options.time_features)
