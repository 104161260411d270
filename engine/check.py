"""Summary of an experiment before it runs: grids, samples, parameters, memory; without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from engine.data import disk_cache
from engine.data.anomalies import KINDS, check_season, describe
from engine.data.cell_vectors import CHANNELS
from engine.data.input_values import InputValues, check_values, sample_values
from engine.data.normalizer import check_log, load_hr_template
from engine.data.pairs import Pairs, pair
from engine.data.station_inputs import CHANNELS as STATION_CHANNELS
from engine.data.times import first_and_last
from engine.errors import GridError, SpecError
from engine.memory_estimate import memory_of
from engine.models.architecture import count_parameters
from engine.models.compatibility import check_field
from engine.models.receptive_field import with_wrap
from engine.models.second_network import GIVES, count_second, parts_of
from engine.models.shapes import Shape, count_discriminator, outputs_of
from engine.models.warm_start import incompatibilities
from engine.network_part import MeasuredPart
from engine.runs import Run, Store
from engine.spec import FLOW_MATCHING, LEARNING_RATE_FACTORS, NORMALIZING_FLOW, Spec, is_url

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class GridSummary:
    """Cells along y and x, and the grid in words."""

    shape: tuple[int, int]
    text: str


@dataclass(frozen=True)
class Summary:
    """Grids; samples and periods of each part of the data; weights of each block; bytes of one process.

    inputs : values of the target, LR, predictors and static variables, by some steps.
    discriminator : weights beside the network's, while training is adversarial; else 0.
    velocity : weights of the network of the velocity, with flow matching; else 0. flow : of a normalizing flow.
    network : the parts that a field goes through.
    """

    grids: dict[str, GridSummary]
    inputs: list[InputValues]
    samples: dict[str, int]
    periods: dict[str, list[str]]
    blocks: dict[str, int]
    parameters: int
    discriminator: int
    velocity: int
    flow: int
    memory_bytes: int
    network: list[MeasuredPart]
    notes: list[str]

    def plain(self) -> dict[str, object]:
        """Content of `check --json`."""
        return asdict(self)

    def text(self) -> str:
        lines = [f"{name.upper()} grid    {grid.text}" for name, grid in self.grids.items()]
        lines += [f"values     {values.name}: {values}" for values in self.inputs]
        lines += [f"{part:<10} {n} samples, {' to '.join(self.periods[part])}" for part, n in self.samples.items()]
        lines.append(f"parameters {self.parameters:,}: {', '.join(f'{k} {v:,}' for k, v in self.blocks.items() if v)}")
        if self.discriminator:
            lines.append(f"besides    {self.discriminator:,} parameters of a discriminator, in training alone")
        if self.velocity:
            lines.append(f"besides    {self.velocity:,} parameters of the network of the velocity")
        if self.flow:
            lines.append(f"besides    {self.flow:,} parameters of the normalizing flow and the network of its context")
        lines.append(f"memory     about {self.memory_bytes / 2**30:.1f} GiB for each process")
        return "\n".join([*lines, *self._network_lines(), *(f"note: {note}" for note in self.notes)])

    def _network_lines(self) -> list[str]:
        """The network as a table: what each part does, hands on, weighs, and sees of LR."""
        rows = [("network", "", "y × x × channels", "parameters", "sees, LR cells")]
        for part in self.network:
            times = f"{part.times} × " if part.times > 1 else ""
            sees = "the whole field" if part.sees_km is None else f"{part.sees} ({part.sees_km:,.0f} km)"
            shape = f"{part.y} × {part.x} × {part.channels}"
            rows.append(
                (f"{part.network} {part.name}".lstrip(), times + part.does, shape, f"{part.parameters:,}", sees)
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join([*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:], widths[2:])]).rstrip()
            for row in rows
        ]


def summarize(spec: Spec, store: Store | None = None) -> Summary:
    """Open the data, check them against the spec, and count.

    Parameters
    ----------
    store : where the run is that `training.start_from` names.

    Raises
    ------
    DataError
        Or one of its kinds, for whatever in the files doesn't fit.
    SpecError, StoreError
        If training can't start from the run that is named.
    """
    pairs = pair(spec.data)
    _check_patch(spec, pairs)
    inputs = sample_values(pairs)
    notes = [str(disk_cache.state())] if any(map(is_url, spec.data.files())) else []
    notes += [*pairs.notes, *check_values(inputs, spec.data.scaling)]
    check_field(spec, pairs, inputs[0].lowest)  # a run checks all steps
    if spec.data.scaling in KINDS:
        notes.append(describe(check_season(pairs, spec.data.scaling), spec.data.scaling))
    shape = shape_of(spec, pairs)
    if shape.wrap:
        notes.append(
            "longitudes go round the globe: fields are interpolated across their seam, and the network sees "
            f"{shape.wrap} of {shape.x_lr} LR columns beyond each of its sides"
        )
    notes.extend(_highest_rate(spec))
    if store and (start := store.start_run(spec)):
        notes.extend(_start(spec, shape, start))
    blocks = count_parameters(spec.model, shape)
    drawing = {GIVES.get(spec.training.learning): count_second(spec, shape)}
    discriminator = count_discriminator(shape) if spec.training.learning == "adversarial" else 0
    parts = {part: getattr(pairs.parts, part) for part in PARTS}
    grids = {"hr": pairs.hr_grid, "lr": pairs.lr_grid}
    memory, memory_notes = memory_of(spec, pairs, shape)
    notes.extend(memory_notes)
    cell_km = pairs.lr_grid.cell_size_km()
    return Summary(
        grids={name: GridSummary(grid.shape, str(grid)) for name, grid in grids.items()},
        inputs=list(inputs),
        samples={part: len(steps) for part, steps in parts.items()},
        periods={part: [*first_and_last(pairs.times.isel(time=steps[[0, -1]]))] for part, steps in parts.items()},
        blocks=blocks,
        parameters=sum(blocks.values()),
        discriminator=discriminator,
        velocity=drawing.get(GIVES[FLOW_MATCHING], 0),
        flow=drawing.get(GIVES[NORMALIZING_FLOW], 0),
        memory_bytes=memory,
        network=[
            MeasuredPart(**vars(part), sees_km=None if part.sees is None else part.sees * cell_km)
            for part in parts_of(spec, shape, pairs.interpolation)
        ],
        notes=notes,
    )


def check_training_part(spec: Spec) -> None:
    """Check values of the training part that only reading it whole shows; raises DataError."""
    if spec.data.scaling == "log":
        check_log(pair(spec.data))


def _highest_rate(spec: Spec) -> list[str]:
    """A note on the learning rate that several processes train with."""
    n, training = spec.launch.processes, spec.training
    rule = training.learning_rate_scaling
    if n == 1 or rule == "none":
        return []
    highest = training.learning_rate * LEARNING_RATE_FACTORS[rule](n)
    return [
        f"training.learning_rate_scaling {rule}: with {n} processes the learning rate rises to {highest:.3g}, not "
        f"{training.learning_rate:.3g}"
    ]


def _start(spec: Spec, shape: Shape, run: Run) -> list[str]:
    """Notes on what training starts from; raises SpecError if the weights of that run don't fit."""
    there = run.spec
    y, x = (side // there.data.scale for side in load_hr_template(run.normalizer_file).hr.shape)
    if found := incompatibilities(spec.model, shape, there.model, _shape(there, (y, x))):
        raise SpecError(
            f"training.start_from is {run.id}, whose weights don't fit: {'; '.join(found)}; use the same, or leave "
            "training.start_from empty"
        )
    if there.draws_residuals and there.training.learning != spec.training.learning:
        raise SpecError(
            f"training.start_from is {run.id}, which was trained by {there.training.learning}, but training.learning "
            f"is {spec.training.learning}",
            option="training.start_from",
            action=f"set training.learning={there.training.learning}, or leave training.start_from empty",
        )
    notes = [f"training starts from the best weights of {run.id}, with a normalizer of its own"]
    if spec.draws_residuals:
        notes.append(f"the network of the mean is that of {run.id}, and isn't trained any more")
    if there.model.localized and not spec.model.localized:
        notes.append(f"the localized block of {run.id} is left behind")
    return notes


def shape_of(spec: Spec, pairs: Pairs) -> Shape:
    """Shape that the network is built for, as far as known before the data are read: LR without gaps."""
    return with_wrap(_shape(spec, pairs.lr_grid.shape), spec.model, pairs.periodic)


def _shape(spec: Spec, lr_shape: tuple[int, int]) -> Shape:
    data, targets = spec.data, 2 if spec.data.target_v else 1
    fields = targets + len(data.predictors)
    features = {"none": 0, "hour": 2, "season": 2, "both": 4}[data.time_features]
    vectors = CHANNELS if spec.has_vectors else 0
    stations = STATION_CHANNELS if data.stations else 0
    channels = data.time_window * fields + vectors + features + stations
    outputs = max(outputs_of(spec.training.loss), targets)
    window = data.time_window, fields
    sides = (*lr_shape, channels, len(data.static), data.scale, *window, outputs)
    return Shape(*sides, vectors=vectors, targets=targets)


def _check_patch(spec: Spec, pairs: Pairs) -> None:
    side, shape = spec.data.patch_size, pairs.hr_grid.shape
    if side > min(shape):
        raise GridError(
            f"data.patch_size is {side}, but HR has {shape[0]} × {shape[1]} cells",
            hint=f"expected at most {min(shape)}, or 0 for whole fields",
        )
