"""Estimate of the memory that a run needs, before it runs; without TensorFlow."""

from __future__ import annotations

import numpy as np

from engine.available_memory import free_memory
from engine.data.anomalies import fit_bytes
from engine.data.fields import open_field, steps_per_chunk
from engine.data.pairs import Pairs
from engine.evaluation.baselines import held_steps
from engine.evaluation.calibration import most_steps
from engine.evaluation.lead_times import Leads
from engine.evaluation.tiles import input_shape, plan_tiles
from engine.models.second_network import coupling_values, networks_of, reach_of
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.memory_budget import (
    HR_CELLS_AT_ONCE,
    RUNTIME_BYTES,
    ahead_bytes,
    fits,
    needed,
    prediction_bytes,
    share,
    training_bytes,
)

BASE_BYTES = 900 * 2**20  # of a process that trains next to nothing: TensorFlow, its graphs and their kernels
COPIES_IN_CALIBRATION = 5  # as float64, of errors and spread
COPIES_OF_MEMBERS = 5  # while they are sorted and compared with HR
FIELDS_IN_PREDICTION = 12  # at HR, as float32, while one step is read, interpolated, put together and written
BASELINE_BYTES_OF_CELL = 3000  # quantiles and coefficients; after that, sums of each product and season
FIELDS_IN_SCORING = 20  # at HR, as float64: SSIM's means, squares and products


def memory_of(spec: Spec, pairs: Pairs, shape: Shape) -> tuple[int, list[str]]:
    """Bytes of one process, and notes: itself, data, and the most that fitting seasons, training or evaluation takes.

    A training part in memory is there twice while it is handed over; what isn't kept there is read ahead from the
    files. Of a target that is another machine nothing is known but what has to be free for that.
    """
    training, evaluation = training_bytes(spec, shape), _evaluation_bytes(spec, pairs, shape)
    fitting = fit_bytes(pairs, spec.data.scaling)
    (y, x), (y_lr, x_lr) = pairs.hr_grid.shape, pairs.lr_grid.shape
    sample = 4 * (shape.targets * y * x + y_lr * x_lr * shape.channels)  # as `Samples.bytes_in_memory`
    train, validation = (sample * len(part) for part in (pairs.parts.train, pairs.parts.validation))
    data = 2 * train + validation
    if spec.launch.site != "local":
        notes = _notes_for_unknown_memory(spec, train, training)
    else:
        free = free_memory(spec.launch.processes) - BASE_BYTES + RUNTIME_BYTES
        notes = [] if fits(train, free, training) else _read_ahead(spec, train, share(free, training))
        read = ahead_bytes(shape, spec.training.batch_size, spec.data.patch_size // spec.data.scale)
        sizes = ((train, 2), (validation, 1))
        data = sum(copies * size if fits(size, free, training) else 0 for size, copies in sizes) + bool(notes) * read
    return BASE_BYTES + data + max(training, evaluation, fitting), notes + _notes_without_tiles(spec, pairs, shape)


def _notes_for_unknown_memory(spec: Spec, part: int, training: int) -> list[str]:
    free = needed(part, training) + BASE_BYTES - RUNTIME_BYTES
    return [
        f"the memory of {spec.launch.site} isn't known here: the training part ({_size(part)}) is kept in memory "
        f"where {_size(free)} are free for each process, else read from the files"
    ]


def _read_ahead(spec: Spec, part: int, room: int) -> list[str]:
    """Notes that the training part doesn't fit into its share of the memory, and on what makes reading it slow."""
    return [
        f"the training part ({_size(part)}) is read from the files all the while: of the memory that is free for each "
        f"process, {_size(room)} are for it",
        *_chunks(spec),
    ]


def _chunks(spec: Spec) -> list[str]:
    """Notes on fields of which many steps are decompressed for each that is read."""
    named = {"data.target": spec.data.target, "data.lr": spec.data.lr}
    named |= {f"data.predictors[{number}]": source for number, source in enumerate(spec.data.predictors)}
    notes = []
    for name, source in named.items():
        if source and (steps := steps_per_chunk(source)) > 1:
            field = open_field(source)
            lost = 4 * (steps - 1) * field.sizes["y"] * field.sizes["x"]
            notes.append(
                f"{name} is stored in chunks of {steps} time steps: each that is read decompresses {steps - 1} others, "
                f"{_size(lost)} for nothing; write it anew with one step in a chunk (netCDF: nccopy -c time/1)"
            )
    return notes


def _evaluation_bytes(spec: Spec, pairs: Pairs, shape: Shape) -> int:
    """Bytes that predicting and scoring the test part takes."""
    cells = int(np.prod(pairs.hr_grid.shape))
    members = spec.members
    at_once = min(max(1, HR_CELLS_AT_ONCE // max(1, members) // cells), len(pairs.parts.test))
    seen = reach_of(spec, shape, pairs.interpolation)
    y, x = input_shape(plan_tiles(pairs.lr_grid.shape, pairs.scale, seen, wrap=shape.wrap))
    network = _network_bytes(spec, shape.piece(y, x), at_once)
    fields = shape.targets * FIELDS_IN_PREDICTION + shape.window + shape.static + COPIES_OF_MEMBERS * members
    # Training steps, and what is fitted to each cell, or the sums of verification after that.
    baselines = held_steps(pairs)[1] + BASELINE_BYTES_OF_CELL * cells if cells <= HR_CELLS_AT_ONCE else 0
    held = min(len(pairs.parts.validation), most_steps(pairs.hr_grid.shape)) if members else 0
    calibration = network + 8 * COPIES_IN_CALIBRATION * held * cells
    leads = Leads.of(pairs.times.isel(time=pairs.parts.test))
    scored = max(at_once, leads.members if leads else 0)  # members of a forecast are verified together
    return max(calibration, network + 4 * at_once * cells * fields, 8 * scored * cells * FIELDS_IN_SCORING, baselines)


def _network_bytes(spec: Spec, shape: Shape, samples: int) -> int:
    """Bytes of the largest of a spec's networks while it predicts."""
    return max(prediction_bytes(*network, samples) for network in networks_of(spec, shape)) + (
        4 * samples * coupling_values(spec, shape)
    )


def _notes_without_tiles(spec: Spec, pairs: Pairs, shape: Shape) -> list[str]:
    """A note where fields are large, and the network lets none be cut into tiles."""
    if np.prod(pairs.hr_grid.shape) <= HR_CELLS_AT_ONCE or reach_of(spec, shape, pairs.interpolation):
        return []
    if spec.model.localized:
        why, other = "a localized block has weights for each cell", "model.localized=false"
    elif spec.model.attention:
        why, other = "attention takes means over a field", "model.attention=false"
    else:
        why, other = "a Fourier filter takes waves of a field", "model.backbone=resnet"
    network = _size(_network_bytes(spec, shape, 1))
    return [
        f"fields are predicted whole, with {network} for the network, and not in tiles: {why} (without it, {other}, "
        "memory is bounded)"
    ]


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
