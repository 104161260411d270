"""Check of the values of each input, by some steps of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.data.pairs import Pairs
from engine.errors import DataError

WHERE = "in the first, middle and last training step"
MOST_TIMES_AS_VARIED = 300  # LR and HR of one variable: m for mm, or a rate per second for one per day, is beyond this
MOST_DEVIATIONS_APART = 10  # of their means: as temperatures in K and °C are, or pressures in Pa and hPa


@dataclass(frozen=True)
class InputValues:
    """Values of an input in the first, middle and last training step, in the unit that the network learns from.

    missing : share of cells without a value; those that were added to HR to fit the scale don't count.
    """

    name: str
    unit: str
    lowest: float
    highest: float
    mean: float
    std: float
    missing: float

    @classmethod
    def of(cls, name: str, unit: str, values: np.ndarray) -> InputValues:
        """Describe values of any shape, NaN where missing; raises DataError if there are none."""
        if np.isnan(values).all():
            raise DataError(
                f"{name} has no value at all {WHERE}",
                hint="expected numbers",
                action="check the variable, its fill value and data.region",
            )
        return cls(
            name,
            unit,
            lowest=float(np.nanmin(values)),
            highest=float(np.nanmax(values)),
            mean=float(np.nanmean(values, dtype=float)),
            std=float(np.nanstd(values, dtype=float)),
            missing=float(np.isnan(values).mean()),
        )

    @property
    def is_constant(self) -> bool:
        return bool(np.isclose(self.lowest, self.highest, rtol=1e-6, atol=0))

    def __str__(self) -> str:
        missing = f", {100 * self.missing:.2g} % missing" if self.missing else ""
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{self.lowest:.4g} to {self.highest:.4g}{unit}".rstrip() + missing


def sample_values(pairs: Pairs) -> tuple[InputValues, ...]:
    """Read the first, middle and last step of the training part, and the static variables.

    Returns
    -------
    The target's values first, then those of LR, predictors and static variables.

    Raises
    ------
    DataError
        If an input has no value at all there.
    """
    train = pairs.parts.train
    block = pairs.read(train[[0, len(train) // 2, -1]])
    rows, columns = pairs.data_shape
    units = [str(field.attrs.get("units", "")) for field in (*pairs.predictors, *pairs.static)]
    values = [np.moveaxis(block.predictors, -1, 0)[k] for k in range(len(pairs.predictors))]
    names = [f"data.predictors[{k}]" for k in range(len(values))] + [
        f"data.static[{k}]" for k in range(len(pairs.static))
    ]
    values += [field.values for field in pairs.static]
    unit = str(pairs.hr.attrs.get("units", ""))
    return (
        InputValues.of("data.target", unit, block.hr[:, :rows, :columns]),
        InputValues.of("LR", unit, block.lr),
        *(
            InputValues.of(name, unit, values)
            for other in block.components[1:]
            for name, values in (("data.target_v", other.hr[:, :rows, :columns]), ("LR of target_v", other.lr))
        ),
        *(InputValues.of(*each) for each in zip(names, units, values, strict=True)),
    )


def check_values(inputs: Sequence[InputValues], scaling: str = "standard") -> tuple[str, ...]:
    """Note inputs that are the same everywhere, and an LR that doesn't look like the target in the same unit.

    Parameters
    ----------
    inputs : as `sample_values` gives them.
    scaling : as `data.scaling`.

    Raises
    ------
    DataError
        If HR has a negative value under scaling log.
    """
    hr, lr = inputs[:2]
    if scaling == "log" and hr.lowest < 0:
        raise DataError(
            f"data.target falls to {hr.lowest:g}, but data.scaling log needs values from 0 on", action="choose standard"
        )
    notes = [f"{values.name} is {values.lowest:g} everywhere {WHERE}" for values in inputs if values.is_constant]
    least, most = sorted([hr.std, lr.std])
    if most > MOST_TIMES_AS_VARIED * least > 0 or abs(hr.mean - lr.mean) > MOST_DEVIATIONS_APART * most > 0:
        notes.append(
            f"LR ({lr}) hardly looks like data.target ({hr}): if the unit in a file is wrong, give the right one with "
            "units: beside its path"
        )
    return tuple(notes)
