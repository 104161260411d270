"""Section of a spec for the data: options, with the checks inside the section."""

from __future__ import annotations

from engine.errors import SpecError
from engine.options import Choice, Options, Value, Values, Whole
from engine.spec.values import Period, Region, Source, Split

KERNELS = ["nearest", "bilinear", "bicubic", "lanczos", "area"]


class DataOptions(Options):
    """The data, and how LR and HR are paired."""

    SECTION = "data"

    target = Value(
        Source, None, doc="HR field to learn: file, glob, list of files, Zarr store or URL, and its variable."
    )
    target_v = Value(
        Source,
        None,
        doc="Second component of a vector, as northward wind, learned by the same network; the target is the first. On "
        "the same grid; a cell is missing where either is. Empty: one target.",
    )
    pairing = Choice(
        ["perfect-prog", "mos"],
        default="perfect-prog",
        doc="perfect-prog: LR is HR, coarsened. mos: LR is a field of another model or product.",
    )
    lr = Value(
        Source,
        None,
        doc="LR field of the same quantity from another model or product. With mos the network learns from it; with "
        "perfect-prog it learns from coarsened HR, and is applied to this field in the test part.",
    )
    lr_v = Value(Source, None, doc="The same as lr for target_v: given where both are.")
    predictors = Values(Source, doc="Additional input fields of the network, regridded to the LR grid.")
    static = Values(
        Source, doc="Input fields without time, such as topography or a land mask, regridded to the HR grid."
    )
    stations = Value(
        Source,
        None,
        doc="Measurements of the target at stations (CSV, CF time series), which the network is given at each step; in "
        "training, values at random HR cells stand in for them.",
    )
    scale = Whole(None, bounds=(2, 64), allow_None=True, unit="HR cells per LR cell", doc="Scale factor from LR to HR.")
    coarsening = Choice(
        KERNELS, default="area", doc="Method of coarsening HR to LR (perfect-prog). area: mean weighted by cell area."
    )
    interpolation = Choice(
        ["nearest", "bilinear", "bicubic", "lanczos"],
        default="bicubic",
        doc="Method of interpolating LR to the HR grid: the baseline of every comparison, and the field to which a "
        "residual network adds.",
    )
    region = Value(Region, None, doc="Box of the HR grid to use; the whole grid when empty.")
    period = Value(Period, None, doc="First and last date to use; all dates when empty.")
    split = Value(
        Split,
        Split(0.7, 0.15, 0.15),
        doc="Parts for training, validation and test, in order of time; of a single time step, in order of its rows.",
    )
    scaling = Choice(
        ["standard", "minmax", "log", "season", "season_trend", "none"],
        default="standard",
        doc="Normalisation of all fields, fitted on the training part. standard: mean 0, standard deviation 1. "
        "minmax: from 0 to 1. log: standard after log(1 + x / mean). season: standard after each cell's season and "
        "daily cycle are subtracted; season_trend: and the linear trend of LR, which the field then keeps.",
    )
    time_window = Whole(
        1,
        bounds=(1, 25),
        unit="time steps",
        doc="LR time steps in a sample, centred on the step that is downscaled (an odd number). 1: only that step.",
    )
    time_features = Choice(
        ["none", "hour", "season", "both"],
        default="none",
        doc="Time of day (hour) and day of year (season), as sine and cosine, as additional predictors.",
    )
    patch_size = Whole(
        0, bounds=(0, 4096), unit="HR cells", doc="Side of the random patches used in training. 0: whole fields."
    )

    def check(self) -> None:
        if self.target is None:
            raise SpecError("data.target is missing", option="data.target", hint=f"expected {Source.EXPECTED}")
        if self.scale is None:
            raise SpecError(
                "data.scale is missing",
                option="data.scale",
                action="give the HR cells per LR cell, a whole number from 2 to 64",
            )
        if self.pairing == "mos" and self.lr is None:
            raise SpecError(
                "data.lr is missing",
                option="data.lr",
                hint="pairing mos needs the LR field",
                action="give data.lr, or choose perfect-prog",
            )
        if self.time_window % 2 == 0:
            raise SpecError(
                f"data.time_window is {self.time_window}",
                option="data.time_window",
                hint="expected an odd number, centred on the time step",
            )
        if self.patch_size and (self.patch_size % self.scale or self.patch_size < 2 * self.scale):
            raise SpecError(
                f"data.patch_size is {self.patch_size}",
                option="data.patch_size",
                hint=f"expected a multiple of scale {self.scale}, at least {2 * self.scale}, or 0 for whole fields",
            )

    def files(self) -> list[str]:
        """All input files, each once, globs expanded."""
        fields = [self.target, self.target_v, self.lr, self.lr_v, self.stations]
        sources = [*filter(None, fields), *self.predictors, *self.static]
        return list(dict.fromkeys(name for source in sources for name in source.files()))
