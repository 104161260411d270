"""Fields of one compared run at chosen steps and cells, read in blocks of steps that are kept in memory."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from app.services.comparison import Result
from engine.evaluation.conditions import Condition

MOST_BYTES = 512 * 2**20  # of fields that are kept, in the whole server
BLOCK_VALUES = 500_000  # 2 MB: sums of larger ones take more than twice as long, for the memory they ask for
Cells = np.ndarray | slice  # numbers of cells in order of rows and columns, or all of them


@dataclass(frozen=True, eq=False)
class ChosenFields:
    """Fields of one run at the steps and cells that fulfil a condition.

    steps : the run's own numbers of the chosen steps.
    """

    result: Result
    condition: Condition
    steps: np.ndarray
    cells: Cells

    @property
    def n_cells(self) -> int:
        return count_cells(self.result, self.cells)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """One field at some of the chosen steps, by their numbers among these, (step, cell)."""
        return np.concatenate(
            [
                self._read_block(self.result.data[name], block, inside)
                for block, inside in _blocks(self.steps[rows], len(self.result.times), self.result.grid.shape)
            ]
        )

    def blocks(self, data: xr.Dataset, products: Sequence[str]) -> Iterator[list[np.ndarray]]:
        """HR and products at the chosen steps and cells, (step, cell), by blocks; HR is NaN out of its range."""
        for block, inside in _blocks(self.steps, len(self.result.times), self.result.grid.shape):
            hr, *fields = (self._read_block(data[name], block, inside) for name in ("hr", *products))
            yield [self.condition.values(hr), *fields]

    def _read_block(self, field: xr.DataArray, block: slice, inside: np.ndarray | slice) -> np.ndarray:
        values = FIELDS.read(self.result, field, block)
        values = values.reshape(len(values), -1)[inside]
        return values if isinstance(self.cells, slice) else values.take(self.cells, axis=1)


class FieldCache:
    """Fields of test parts as float32, read in blocks of steps; the blocks that were used last are kept."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most_bytes, self._lock, self._reading = most_bytes, threading.Lock(), threading.Lock()
        self._blocks: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()
        self._bytes = 0

    def read(self, result: Result, field: xr.DataArray, block: slice) -> np.ndarray:
        """Steps of a field of a run, (time, y, x)."""
        key = (result.run.results, result.version, result.component, field.name, block.start, block.stop)
        if (kept := self._find(key)) is not None:
            return kept
        with self._reading:  # files are read one at a time anyway
            if (kept := self._find(key)) is not None:  # another thread has read it meanwhile
                return kept
            values = field.isel(time=block).transpose("time", "y", "x").values.astype(np.float32, copy=False)
            with self._lock:
                self._blocks[key] = values
                self._bytes += values.nbytes
                while self._bytes > self._most_bytes:
                    self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return values

    def _find(self, key: tuple[object, ...]) -> np.ndarray | None:
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)


FIELDS = FieldCache()


def count_cells(result: Result, cells: Cells) -> int:
    """Number of chosen cells of a run."""
    return int(np.zeros(math.prod(result.grid.shape), bool)[cells].size)


def steps_per_block(shape: tuple[int, int]) -> int:
    """Number of steps of a grid (y, x) that are read at once."""
    return max(1, BLOCK_VALUES // max(1, math.prod(shape)))


def _blocks(steps: np.ndarray, n_steps: int, shape: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray | slice]]:
    """Cut a test part into blocks: those with chosen steps, and which of their steps these are."""
    width = steps_per_block(shape)
    for start in range(0, n_steps, width):
        inside = steps[(steps >= start) & (steps < start + width)] - start
        block = slice(start, min(start + width, n_steps))
        if len(inside):
            yield block, inside if len(inside) < block.stop - start else slice(None)  # which makes no copy
