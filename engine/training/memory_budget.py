"""Shares of memory: a part of the data, batches that are read ahead, fields that are validated.

Known without TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import isqrt

from engine.data.samples import CELLS_AT_ONCE
from engine.models.shapes import Shape

HR_CELLS_AT_ONCE = 500_000  # of a batch without gradients: 64 MB of activations for each layer of 32 filters
MEMORY_SHARE = 0.25  # of the free memory, for one part: there are two, each twice while it is handed over
RUNTIME_BYTES = 400 * 2**20  # that TensorFlow takes once it runs, for threads, graphs and kernels
READ_AHEAD = 4  # batches
READERS = 2  # batches that are being read at a time
COPIES = 5  # of a field, as float32, while it is read and scaled, which is done in float64


def fits(part: int, free: int, reserved: int) -> bool:
    """True if a part of so many bytes is kept in memory, of which `free` bytes are free.

    reserved : bytes that training itself will take.
    """
    return part < share(free, reserved)


def share(free: int, reserved: int) -> int:
    """Bytes of the free ones that a part may take."""
    return max(0, int(MEMORY_SHARE * (free - RUNTIME_BYTES - reserved)))


def needed(part: int, reserved: int) -> int:
    """Bytes that have to be free for a part to be kept in memory."""
    return int(part / MEMORY_SHARE) + RUNTIME_BYTES + reserved


def ahead_bytes(shape: Shape, batch_size: int, patch_lr: int) -> int:
    """Bytes of batches that are read ahead, and of the whole fields from which they are cut, with their time windows.

    patch_lr : side of a patch in LR cells, 0 for whole fields.
    """
    cells, cells_lr = shape.hr[0] * shape.hr[1], shape.y_lr * shape.x_lr
    at_once = min(batch_size, max(1, CELLS_AT_ONCE // cells)) if patch_lr else batch_size
    reading = at_once * shape.window * (cells + cells_lr * (1 + shape.fields)) * COPIES
    kept_lr = patch_lr**2 or cells_lr
    batch = batch_size * kept_lr * (shape.scale**2 + shape.channels)
    return 4 * (READERS * reading + (READERS + READ_AHEAD) * batch)


@dataclass(frozen=True)
class Pieces:
    """Division of the validation fields for the network, which must not take more than training in patches.

    at_once : whole fields in a batch; side, corners : in LR cells, of squares into which a field that is too large even
    alone is cut. They overlap where it is no multiple of them, and their edges count as borders of the field.
    """

    at_once: int
    side: int = 0
    corners: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, lr_shape: tuple[int, int], scale: int, patch_lr: int, batch_size: int) -> Pieces:
        y, x = lr_shape
        cells = y * x * scale**2
        if not patch_lr:
            return cls(batch_size)
        if cells <= HR_CELLS_AT_ONCE:
            return cls(min(batch_size, HR_CELLS_AT_ONCE // cells))
        side = min(max(patch_lr, isqrt(HR_CELLS_AT_ONCE) // scale), y, x)
        corners = product(*([*range(0, cells - side, side), cells - side] for cells in lr_shape))
        return cls(1, side, tuple(corners))

    def steps(self, fields: int) -> int:
        """Batches in which so many fields are validated."""
        return fields * len(self.corners) if self.corners else -(-fields // self.at_once)
