"""What an experiment is: one YAML file, one declaration per option.

The declarations below drive validation, the YAML file, `--set section.option=value`, `--help` and
the widgets of the dashboard. `Spec` is the frozen container of the four sections.
"""

from __future__ import annotations

import dataclasses
import datetime
import glob
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from engine.errors import SpecError
from engine.options import Choice, Flag, Options, Real, Text, Value, Values, Whole, did_you_mean, parts_of, to_plain

VERSION = 1
# Old name → new name. Refused in what a user gives; read in the spec.yaml of run folders, which is written once.
RENAMED = {"launch.target": "launch.site", "training.lr_scaling": "training.learning_rate_scaling"}
RECURRENT = ("resnet", "convnet", "densenet")  # backbones of which there is a recurrent form
NAME = r"^$|^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"  # what may stand in a scheduler's header
# Of the learning rate, for n processes. linear: Goyal et al. (2017), arXiv 1706.02677, section 2.1, for momentum.
# sqrt: the learning rate's part of the rule of Malladi et al. (2022), NeurIPS 35, arXiv 2205.10287, for Adam.
LEARNING_RATE_FACTORS: dict[str, Callable[[int], float]] = {"none": lambda n: 1.0, "linear": float, "sqrt": math.sqrt}
DATE = re.compile(r"([+-]?\d{4,9})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?")  # ISO 8601, expanded
KERNELS = ["nearest", "bilinear", "bicubic", "lanczos", "area"]


@dataclass(frozen=True)
class Source:
    """A variable in a file, a glob, a list of files, or a Zarr store."""

    EXPECTED: ClassVar[str] = "a mapping {path: file, glob, list of files or Zarr store, variable: name}"
    path: str | tuple[str, ...]
    variable: str = ""  # may be left out where the file has just one
    units: str = ""  # in place of what the file says, or doesn't say

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = parts_of(cls, value, where)
        path, variable = parts["path"], parts.get("variable", "")
        listed = isinstance(path, list | tuple)
        if not (path and all(isinstance(p, str) and p for p in (path if listed else [path]))):
            raise SpecError(f"{where}.path is {path!r}: expected a file name, a glob, or a list of file names")
        units = parts.get("units", "")
        if not isinstance(variable, str):
            raise SpecError(f"{where}.variable is {variable!r}: expected the name of a variable in the file")
        if not isinstance(units, str):
            raise SpecError(f"{where}.units is {units!r}: expected a unit as text, as in 'K' or 'mm/day'")
        return cls(tuple(path) if listed else path, variable, units)

    def plain(self) -> dict[str, Any]:
        path = list(self.path) if isinstance(self.path, tuple) else self.path
        named = {"variable": self.variable, "units": self.units}
        return {"path": path, **{word: text for word, text in named.items() if text}}

    def within(self, folder: Path) -> Source:
        """The same source with its paths made absolute from `folder`."""
        if isinstance(self.path, tuple):
            return dataclasses.replace(self, path=tuple(os.path.join(folder, p) for p in self.path))
        return dataclasses.replace(self, path=os.path.join(folder, self.path))

    def files(self) -> list[str]:
        """The files meant, globs expanded, in order of name; what doesn't exist is kept as given."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        return [name for path in paths for name in (sorted(glob.glob(path)) or [path])]


@dataclass(frozen=True)
class Region:
    """A box: latitudes in degrees north, longitudes in degrees east."""

    EXPECTED: ClassVar[str] = "a mapping {lat: [south, north], lon: [west, east]}"
    lat: tuple[float, float]
    lon: tuple[float, float]

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = parts_of(cls, value, where)
        for side in ("lat", "lon"):
            pair = parts[side]
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_number(v) for v in pair)):
                raise SpecError(f"{where}.{side} is {pair!r}: expected two numbers, as in {cls.EXPECTED}")
        south, north = map(float, parts["lat"])
        if south >= north:
            raise SpecError(f"{where}.lat is [{south:g}, {north:g}]: expected the south edge first, then the north")
        west, east = map(float, parts["lon"])
        return cls((south, north), (west, east))

    def plain(self) -> dict[str, Any]:
        return {"lat": list(self.lat), "lon": list(self.lon)}


@dataclass(frozen=True)
class Period:
    """From one date to another, both included."""

    EXPECTED: ClassVar[str] = "two dates [first, last], as in ['2001-01-01', '2010-12-31']"
    first: str
    last: str

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        if not (isinstance(value, list | tuple) and len(value) == 2):
            raise SpecError(f"{where} is {value!r}: expected {cls.EXPECTED}")
        period = cls(*(_date(v, where, cls.EXPECTED) for v in value))
        if period.begin > period.end:
            raise SpecError(f"{where} is [{period.first}, {period.last}]: the first date is after the last; swap them")
        return period

    @property
    def begin(self) -> tuple[int, ...]:
        """Year, month, day, hour, minute, second before which nothing is meant, in any calendar."""
        given = _parts_of_date(self.first)
        return (*given, *[0] * (6 - len(given)))

    @property
    def end(self) -> tuple[int, ...]:
        """Year to second after which nothing is meant, in any calendar: what the last date leaves open is all of it."""
        given = _parts_of_date(self.last)
        return (*given, *[99] * (6 - len(given)))

    def plain(self) -> list[str]:
        return [self.first, self.last]


@dataclass(frozen=True)
class Split:
    """Which time steps train, validate and test: fractions in order of time, or two dates each.

    `gap` time steps are left out between neighbouring parts, so that a part doesn't know its neighbour.
    """

    EXPECTED: ClassVar[str] = (
        "a mapping {train, validation, test, gap}: fractions that sum to at most 1, or two dates each"
    )
    train: float | Period
    validation: float | Period
    test: float | Period
    gap: int = 0

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = dict(parts_of(cls, value, where))
        gap = parts.pop("gap", 0)
        if isinstance(gap, bool) or not isinstance(gap, int) or gap < 0:
            raise SpecError(f"{where}.gap is {gap!r}: expected a whole number from 0 on (time steps)")
        if all(_is_number(v) for v in parts.values()):
            return cls(**cls._fractions(parts, where), gap=gap)
        if any(_is_number(v) for v in parts.values()):
            raise SpecError(f"{where} mixes fractions and dates: expected {cls.EXPECTED}")
        return cls(**{part: Period.parse(v, f"{where}.{part}") for part, v in parts.items()}, gap=gap)

    @classmethod
    def _fractions(cls, parts: Mapping[str, Any], where: str) -> dict[str, float]:
        fractions = {part: float(v) for part, v in parts.items()}
        for part, fraction in fractions.items():
            if not 0 < fraction < 1:
                raise SpecError(f"{where}.{part} is {fraction:g}: expected a fraction between 0 and 1")
        if (total := sum(fractions.values())) > 1 + 1e-9:
            raise SpecError(f"{where} sums to {total:g}: expected fractions that sum to at most 1")
        return fractions

    def plain(self) -> dict[str, Any]:
        parts = {part: to_plain(getattr(self, part)) for part in ("train", "validation", "test")}
        return {**parts, "gap": self.gap} if self.gap else parts


class DataOptions(Options):
    """Which data are paired, and how."""

    SECTION = "data"

    target = Value(Source, None, doc="HR field to learn: file, glob, list of files or Zarr store, and its variable.")
    pairing = Choice(
        ["perfect-prog", "mos"],
        default="perfect-prog",
        doc="perfect-prog: LR is made from HR by coarsening. mos: LR is given by another model or product.",
    )
    lr = Value(
        Source,
        None,
        doc="LR field of the same quantity from another model or product. mos learns from it; a perfect-prog network "
        "learns from coarsened HR, and is applied to it in the test part.",
    )
    predictors = Values(Source, doc="Further fields that inform the network, brought onto the LR grid.")
    static = Values(Source, doc="Fields without time, such as topography or a land mask, brought onto the HR grid.")
    scale = Whole(None, bounds=(2, 64), allow_None=True, unit="HR cells per LR cell", doc="Scale factor from LR to HR.")
    coarsening = Choice(
        KERNELS, default="area", doc="How HR becomes LR (perfect-prog). area: mean weighted by cell area."
    )
    interpolation = Choice(
        ["nearest", "bilinear", "bicubic", "lanczos"],
        default="bicubic",
        doc="How LR is interpolated onto the HR grid: the yardstick, and the base of a residual network.",
    )
    region = Value(Region, None, doc="Box of the HR grid to use; all of it when empty.")
    period = Value(Period, None, doc="First and last date to use; all when empty.")
    split = Value(Split, Split(0.7, 0.15, 0.15), doc="Parts for training, validation and test, in order of time.")
    scaling = Choice(
        ["standard", "minmax", "log", "none"],
        default="standard",
        doc="How fields are scaled, fitted on the training part. log: standard after log(1 + x / mean).",
    )
    time_window = Whole(
        1, bounds=(1, 25), unit="time steps", doc="LR time steps seen at once, centred (odd). 1: spatial samples."
    )
    time_features = Choice(
        ["none", "hour", "season", "both"],
        default="none",
        doc="Time of day and day of year (sine and cosine) as further predictors.",
    )
    patch_size = Whole(
        0, bounds=(0, 4096), unit="HR cells", doc="Side of the random patches in training. 0: whole fields."
    )

    def check(self) -> None:
        if self.target is None:
            raise SpecError(f"data.target is missing: expected {Source.EXPECTED}")
        if self.scale is None:
            raise SpecError("data.scale is missing: give the HR cells per LR cell, a whole number from 2 to 64")
        if self.pairing == "mos" and self.lr is None:
            raise SpecError("data.lr is missing: pairing mos needs the LR field; give data.lr, or choose perfect-prog")
        if self.time_window % 2 == 0:
            raise SpecError(f"data.time_window is {self.time_window}: expected an odd number, centred on the time step")
        self._check_patch()

    def files(self) -> list[str]:
        """All input files, each once, globs expanded."""
        sources = [self.target, *([self.lr] if self.lr else []), *self.predictors, *self.static]
        return list(dict.fromkeys(name for source in sources for name in source.files()))

    def _check_patch(self) -> None:
        if self.patch_size and (self.patch_size % self.scale or self.patch_size < 2 * self.scale):
            raise SpecError(
                f"data.patch_size is {self.patch_size}: expected a multiple of scale {self.scale}, at least "
                f"{2 * self.scale}, or 0 for whole fields"
            )


class ModelOptions(Options):
    """The network."""

    SECTION = "model"

    backbone = Choice(
        ["resnet", "convnet", "densenet", "convnext", "unet"], default="resnet", doc="Body of the network."
    )
    upsampling = Choice(
        ["spc", "rc", "dc", "pin"],
        default="spc",
        doc="How LR reaches the HR grid: sub-pixel (spc), resize (rc) or transposed convolution (dc) after the "
        "backbone, or interpolation before it (pin).",
    )
    temporal = Choice(
        ["recurrent", "stacked"],
        default="recurrent",
        doc="How the steps of data.time_window are seen: one after another, by a convolutional LSTM (recurrent), or "
        "side by side as channels (stacked). Without effect where the window is one step.",
    )
    n_filters = Whole(32, bounds=(1, 1024), unit="channels", doc="Filters of each convolution.")
    n_blocks = Whole(4, bounds=(1, 100), unit="blocks", doc="Blocks of the backbone; levels of a U-Net.")
    activation = Choice(
        ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"], default="relu", doc="Activation between convolutions."
    )
    output_activation = Choice(
        ["auto", "linear", "relu", "softplus"],
        default="auto",
        doc="Bound of the downscaled field. relu, softplus: nothing below zero in the target's unit. "
        "auto: relu for quantities that are never negative, by CF standard name or training values; else linear.",
    )
    normalization = Choice(["none", "batch", "layer"], default="none", doc="Normalisation inside the blocks.")
    separable = Flag(False, doc="Depthwise-separable convolutions in the blocks of the backbone.")
    dropout_rate = Real(0.0, bounds=(0.0, 0.9), doc="Share of activations dropped in training.")
    dropout_variant = Choice(
        ["vanilla", "gaussian", "spatial", "mc_vanilla", "mc_gaussian", "mc_spatial"],
        default="vanilla",
        doc="Kind of dropout. mc: Monte Carlo, active in prediction too, which is then the mean of several members, "
        "with their spread beside it; validation during training is without dropout.",
    )
    members = Whole(8, bounds=(1, 256), unit="members", doc="Predictions drawn with Monte Carlo dropout.")
    attention = Flag(False, doc="Channel attention in each block (squeeze and excitation).")
    localized = Flag(True, doc="Localized convolutional block (LCB): weights of its own for each cell.")
    residual = Flag(True, doc="Learn the difference from the interpolated field.")
    constraint = Choice(
        ["none", "additive", "multiplicative", "softmax"],
        default="none",
        doc="Makes the area mean of the downscaled cells of each LR cell its LR value. additive: for any field; "
        "multiplicative, softmax: for fields that are never negative. With mos, LR is the other model's value, and the "
        "downscaled field keeps that model's bias.",
    )

    def check(self) -> None:
        if self.backbone == "unet" and self.upsampling != "pin":
            raise SpecError(
                f"model.backbone is unet, but model.upsampling is {self.upsampling}: a U-Net works at HR, after "
                "interpolation; set model.upsampling=pin, or model.backbone=resnet"
            )
        if self.separable and self.backbone == "convnext":
            raise SpecError(
                "model.separable is true, but model.backbone is convnext: its convolutions are depthwise already; "
                "set model.separable=false, or model.backbone=resnet"
            )
        if self.sampled and not self.dropout_rate:
            raise SpecError(
                f"model.dropout_variant is {self.dropout_variant}, but model.dropout_rate is 0: without dropout all "
                "members are the same; set model.dropout_rate=0.1, or model.dropout_variant=vanilla"
            )
        self._check_constraint()

    def _check_constraint(self) -> None:
        form, bound = self.constraint, self.output_activation
        if form == "additive" and bound in ("relu", "softplus"):
            raise SpecError(
                f"model.constraint is additive, which can take a field below zero, but model.output_activation is "
                f"{bound}: set model.constraint=multiplicative, or model.output_activation=auto"
            )
        if form in ("multiplicative", "softmax") and bound == "linear":
            raise SpecError(
                f"model.constraint is {form}, for fields that are never negative, but model.output_activation is "
                "linear: set model.output_activation=auto, or model.constraint=additive"
            )

    @property
    def sampled(self) -> bool:
        """Whether a prediction is drawn, by Monte Carlo dropout."""
        return self.dropout_variant.startswith("mc_")


class TrainingOptions(Options):
    """How the network learns."""

    SECTION = "training"

    learning = Choice(
        ["supervised", "adversarial"],
        default="supervised",
        doc="supervised: the loss compares with HR. adversarial: besides, a discriminator learns to tell downscaled "
        "fields from HR, and the network to deceive it.",
    )
    adversarial_weight = Real(
        0.01, bounds=(0.0, 1000.0), doc="Weight of the adversarial loss beside the loss that compares with HR."
    )
    loss = Choice(
        [
            "mae",
            "mse",
            "huber",
            "dssim",
            "ms_dssim",
            "dssim_mae",
            "dssim_mse",
            "dssim_mae_mse",
            "ms_dssim_mae",
            "ms_dssim_mae_mse",
            "spectral",
            "quantile",
            "bernoulli_gamma",
        ],
        default="mae",
        doc="What training makes small, over all cells with a value. dssim: structural dissimilarity, at several "
        "scales with ms_; mixtures have DL4DS's weights. spectral: MAE and the distance of log power spectra, against "
        "fields that are too smooth. quantile: the field is a quantile of HR, see training.quantile. "
        "bernoulli_gamma: likelihood of precipitation, whether it rains and how much; the field is its mean.",
    )
    quantile = Real(
        0.9,
        bounds=(0.01, 0.99),
        doc="Quantile of HR that loss quantile makes the downscaled field; other losses don't use it.",
    )
    epochs = Whole(100, bounds=(1, 100_000), unit="epochs", doc="Most epochs; each ends with a validation.")
    steps_per_epoch = Whole(
        0, bounds=(0, 1_000_000), unit="steps", doc="Steps of an epoch. 0: one pass over the training part."
    )
    batch_size = Whole(16, bounds=(1, 4096), unit="samples per process", doc="Samples in one step of one process.")
    learning_rate = Real(
        2e-3,
        bounds=(0, 1),
        inclusive_bounds=(False, True),
        doc="Highest learning rate: of one process, or of all together, see learning_rate_scaling.",
    )
    learning_rate_scaling = Choice(
        list(LEARNING_RATE_FACTORS),
        default="none",
        doc="What n processes, whose batches together are n times as large, make of the learning rates. none: nothing. "
        "linear: n times as high (Goyal et al. 2017); give warm_up 0.05 or more. sqrt: √n times (Malladi et al. 2022).",
    )
    discriminator_learning_rate = Real(
        1e-4,
        bounds=(0, 1),
        inclusive_bounds=(False, True),
        doc="Highest learning rate of the discriminator, on the same course as the network's.",
    )
    label_smoothing = Real(
        0.1, bounds=(0.0, 0.5), doc="How far the discriminator's label of real fields stays below one."
    )
    schedule = Choice(
        ["constant", "piecewise", "cosine"],
        default="cosine",
        doc="Course of the learning rate. piecewise: one fall, see decay_at. cosine: down to 1 %.",
    )
    decay_at = Real(0.5, bounds=(0.0, 1.0), doc="Share of all steps after which a piecewise learning rate falls.")
    decay_factor = Real(
        0.1, bounds=(0, 1), inclusive_bounds=(False, True), doc="Factor by which a piecewise learning rate falls."
    )
    warm_up = Real(0.02, bounds=(0.0, 0.5), doc="Share of all steps over which the learning rate rises from zero.")
    weight_decay = Real(0.0, bounds=(0.0, 1.0), doc="Decoupled weight decay (AdamW).")
    early_stopping = Flag(True, doc="Stop when the validation loss no longer falls.")
    patience = Whole(25, bounds=(1, 10_000), unit="epochs", doc="Epochs without improvement before stopping.")
    min_delta = Real(0.0, bounds=(0.0, None), doc="Smallest fall of the validation loss that counts as improvement.")
    ema = Real(
        0.0,
        bounds=(0.0, 0.9999),
        doc="Decay of the moving average of the weights, with which the network validates and predicts. 0: none.",
    )
    seed = Whole(0, bounds=(0, 2**31 - 1), doc="Seed of weights, shuffling, patches and dropout.")
    precision = Choice(["float32", "mixed_bfloat16"], default="float32", doc="Number format of the convolutions.")
    start_from = Text(
        "",
        doc="Run whose best weights training starts from (fine-tuning), on its data or others, with a scaling fitted "
        "anew; empty: new weights.",
    )


class LaunchOptions(Options):
    """Where training runs."""

    SECTION = "launch"

    title = Text("", doc="Short title shown in lists and legends.")
    site = Text(
        "local",
        regex=r"^[A-Za-z0-9._-]{1,64}$",
        doc="Where the run is executed: local (this machine), or the name of a site in the targets file.",
    )
    processes = Whole(1, bounds=(1, 4096), unit="processes", doc="Horovod processes (ranks).")
    time_limit = Whole(0, bounds=(0, 100_000), unit="minutes", doc="Stop with a checkpoint after this time. 0: none.")
    nodes = Whole(1, bounds=(1, 1024), unit="nodes", doc="Nodes of a cluster that share the processes evenly.")
    threads = Whole(0, bounds=(0, 256), unit="cores", doc="CPU cores per process on a cluster. 0: as the site says.")
    gpus = Whole(0, bounds=(0, 16), unit="GPUs", doc="GPUs per process on a cluster.")
    partition = Text("", regex=NAME, doc="Partition (queue) of a cluster. Empty: the site's first.")
    account = Text("", regex=NAME, doc="Account that a cluster charges. Empty: the site's first.")
    upload = Flag(False, doc="Send the input files to the site, once. Off: it has them at the same paths.")
    restarts = Whole(
        0,
        bounds=(0, 100),
        unit="restarts",
        doc="Automatic restarts from the last checkpoint after a rank died without a word.",
    )
    min_processes = Whole(
        0,
        bounds=(0, 4096),
        unit="processes",
        doc="When processes are lost, training goes on with those left, down to so many. 0: it needs all of them.",
    )

    @property
    def elastic(self) -> bool:
        """Whether training goes on with the processes that are left when others are lost."""
        return 0 < self.min_processes < self.processes

    def check(self) -> None:
        if self.min_processes > self.processes:
            raise SpecError(
                f"launch.min_processes is {self.min_processes}, but launch.processes is {self.processes}: expected at "
                "most as many, or 0 if training needs all of them"
            )
        if self.processes % self.nodes:
            raise SpecError(
                f"launch.processes is {self.processes}, which {self.nodes} nodes can't share evenly: give a multiple "
                "of launch.nodes"
            )


SECTIONS: dict[str, type[Options]] = {
    kind.SECTION: kind for kind in (DataOptions, ModelOptions, TrainingOptions, LaunchOptions)
}


@dataclass(frozen=True)
class Spec:
    """An experiment: four sealed sections, checked against each other when made.

    Raises
    ------
    SpecError
        From any way to make one, for whatever is unknown, of the wrong type, out of bounds or at odds.
    """

    data: DataOptions
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    launch: LaunchOptions = field(default_factory=LaunchOptions)

    def __post_init__(self) -> None:
        if self.model.localized and self.data.patch_size:
            raise SpecError(
                f"model.localized is true, but data.patch_size is {self.data.patch_size}: a localized block has "
                "weights for each cell of the whole grid; set model.localized=false, or data.patch_size=0"
            )
        if self.recurrent and self.model.backbone not in RECURRENT:
            raise SpecError(
                f"model.temporal is recurrent, but model.backbone is {self.model.backbone}: a recurrent network has "
                f"the blocks of {', '.join(RECURRENT)}; set model.temporal=stacked, or model.backbone=resnet"
            )
        if self.training.loss == "bernoulli_gamma":
            self._check_distribution()
        if self.model.constraint != "none":
            self._check_constraint()

    def _check_distribution(self) -> None:
        bound, form = self.model.output_activation, self.model.constraint
        if bound not in ("auto", "relu"):
            raise SpecError(
                f"model.output_activation is {bound}, but with training.loss bernoulli_gamma the field is a mean that "
                "is never negative; set model.output_activation=auto"
            )
        if form in ("additive", "softmax"):
            raise SpecError(
                f"model.constraint is {form}, but the mean that training.loss bernoulli_gamma gives can only be raised "
                "by a factor; set model.constraint=multiplicative, or training.loss=mae"
            )

    def _check_constraint(self) -> None:
        form, data = self.model.constraint, self.data
        if form == "additive" and data.scaling == "log":
            raise SpecError(
                "model.constraint is additive, which can take a field below zero, but data.scaling is log, which has "
                "no place there: set model.constraint=multiplicative, or data.scaling=standard"
            )
        if data.pairing == "perfect-prog" and data.coarsening != "area":
            raise SpecError(
                f"model.constraint is {form}, which takes LR for the area mean, but data.coarsening is "
                f"{data.coarsening}: set data.coarsening=area, or model.constraint=none"
            )

    @property
    def recurrent(self) -> bool:
        """Whether the network goes through the steps of a time window one after another."""
        return self.data.time_window > 1 and self.model.temporal == "recurrent"

    @classmethod
    def from_plain(cls, plain: Any, folder: Path | None = None) -> Self:
        """From a mapping as in the YAML file; relative paths start at `folder`, if given."""
        if not isinstance(plain, Mapping):
            raise SpecError(
                f"the spec is {type(plain).__name__}: expected a mapping with version, data, model, training, launch"
            )
        for word in plain:
            if word != "version" and word not in SECTIONS:
                raise SpecError(f"{word} is not a section: {did_you_mean(str(word), ['version', *SECTIONS])}")
        if (version := plain.get("version")) != VERSION or isinstance(version, bool):
            raise SpecError(f"version is {version!r}: expected version: {VERSION}")
        spec = cls(**{section: kind(**_group(plain, section)) for section, kind in SECTIONS.items()})
        return spec.within(folder) if folder else spec

    @classmethod
    def from_yaml(cls, text: str, folder: Path | None = None, settings: Iterable[str] = ()) -> Self:
        return cls.from_plain(with_settings(load_yaml(text, "the spec"), settings), folder)

    @classmethod
    def read(cls, path: Path, settings: Iterable[str] = ()) -> Self:
        """The spec in a YAML file, with `--set section.option=value` applied; paths start at its folder."""
        plain = load_yaml(_read_text(path), str(path))
        return cls.from_plain(with_settings(plain, settings), Path(path).absolute().parent)

    @classmethod
    def read_recorded(cls, path: Path) -> Self:
        """The spec in the spec.yaml of a run folder, which may still have the old names of renamed options."""
        return cls.from_plain(_with_new_names(load_yaml(_read_text(path), str(path))), Path(path).absolute().parent)

    def within(self, folder: Path) -> Self:
        """The same spec with absolute paths."""
        data = self.data
        return dataclasses.replace(
            self,
            data=data.replace(
                target=data.target.within(folder),
                lr=data.lr and data.lr.within(folder),
                predictors=tuple(source.within(folder) for source in data.predictors),
                static=tuple(source.within(folder) for source in data.static),
            ),
        )

    def replace(self, **sections: Mapping[str, Any]) -> Self:
        """A checked copy with other options: spec.replace(training={"epochs": 3})."""
        return dataclasses.replace(self, **{name: getattr(self, name).replace(**v) for name, v in sections.items()})

    def plain(self) -> dict[str, Any]:
        """Complete, as plain YAML types."""
        return {"version": VERSION, **{section: getattr(self, section).plain() for section in SECTIONS}}

    def changed(self) -> dict[str, Any]:
        """Only what differs from the defaults, as a user would write it."""
        sections = {section: getattr(self, section).changed() for section in SECTIONS}
        return {"version": VERSION, **{section: options for section, options in sections.items() if options}}

    def to_yaml(self) -> str:
        return dump_yaml(self.plain())

    def settings(self) -> list[str]:
        """Every option as `section.option=value`, for `--set`."""
        return [
            f"{section}.{option}={flow_yaml(value)}"
            for section in SECTIONS
            for option, value in getattr(self, section).plain().items()
        ]


def with_settings(plain: Any, settings: Iterable[str]) -> Any:
    """A spec's mapping with `section.option=value` (or `section.option.part=value`) put in."""
    plain = _deep_copy(plain) if isinstance(plain, Mapping) else plain
    for setting in settings:
        path, equals, text = setting.partition("=")
        words = path.strip().split(".")
        if not equals or len(words) < 2 or not all(words):
            raise SpecError(f"--set {setting}: expected section.option=value, as in training.epochs=30")
        group = plain
        for word in words[:-1]:
            group[word] = {} if group.get(word) is None else group[word]
            group = group[word]
            if not isinstance(group, dict):
                raise SpecError(f"--set {setting}: {word} has no parts; expected section.option=value")
        group[words[-1]] = load_yaml(text, f"--set {setting}")
    return plain


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, reads 1e-3 as the number it is in YAML 1.2, and dates as text.

    Dates are text because 30 February is a day of some calendars.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                line = node.value[number][0].start_mark.line + 1
                raise yaml.YAMLError(f"line {line} gives {key} a second time")
        return super().construct_mapping(node, deep)


class _StrictDumper(yaml.SafeDumper):
    """Safe YAML that quotes text which the loader would read as a number."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind in (_StrictLoader, _StrictDumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def load_yaml(text: str, where: str) -> Any:
    """YAML text as plain types; raises SpecError with the line of the fault."""
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        fault = f"line {mark.line + 1}: {getattr(error, 'problem', error)}" if mark else str(error)
        raise SpecError(f"{where} is not YAML ({fault}): expected lines such as 'training: {{epochs: 30}}'") from None


def dump_yaml(plain: Any) -> str:
    return yaml.dump(plain, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True, width=100)


def flow_yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.dump(
        value, Dumper=_StrictDumper, default_flow_style=True, allow_unicode=True, width=2**31, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _read_text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path} does not exist: give the path of a spec, a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} can't be read ({error}): give the path of a spec, a YAML file") from None


def _with_new_names(plain: Any) -> Any:
    """The mapping of a recorded spec with renamed options under their new names, in the same order."""
    if not isinstance(plain, Mapping):
        return plain
    return {
        section: _rename(section, group) if isinstance(group, Mapping) else group for section, group in plain.items()
    }


def _rename(section: str, group: Mapping[str, Any]) -> dict[str, Any]:
    new = {name: RENAMED.get(f"{section}.{name}", f"{section}.{name}") for name in group}
    return {new[name].partition(".")[2]: value for name, value in group.items()}


def _group(plain: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    group = plain.get(section)
    if group is None:
        return {}
    if not isinstance(group, Mapping):
        raise SpecError(f"{section} is {group!r}: expected a mapping of options")
    if odd := [word for word in group if not isinstance(word, str)]:
        raise SpecError(
            f"{section}.{odd[0]} is not an option: {did_you_mean(str(odd[0]), SECTIONS[section].declared())}"
        )
    for word in group:
        if new := RENAMED.get(f"{section}.{word}"):
            raise SpecError(f"{section}.{word} has a new name: write {new} instead")
    return group


def _deep_copy(plain: Any) -> Any:
    if isinstance(plain, Mapping):
        return {key: _deep_copy(value) for key, value in plain.items()}
    return [_deep_copy(v) for v in plain] if isinstance(plain, list) else plain


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _date(value: Any, where: str, expected: str) -> str:
    """An ISO date or date and time as text; any CF calendar's day counts, so 30 February passes."""
    text = value.isoformat() if isinstance(value, datetime.date) else value  # that is from Python
    if not (isinstance(text, str) and DATE.fullmatch(text)):
        raise SpecError(f"{where} is {value!r}: expected {expected}; a year has at least four digits, as in 0850")
    bounds = ((1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
    for part, (least, most) in zip(_parts_of_date(text)[1:], bounds, strict=False):
        if not least <= part <= most:
            raise SpecError(f"{where} is {value!r}, in which {part:02d} can't be: expected {expected}")
    return text


def _parts_of_date(text: str) -> tuple[int, ...]:
    """'-0850-02-30T06:00' → (-850, 2, 30, 6, 0): what is given of year, month, day, hour, minute, second."""
    found = DATE.fullmatch(text)
    assert found
    return tuple(int(part) for part in found.groups() if part)
