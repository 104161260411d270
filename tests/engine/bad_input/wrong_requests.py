"""A request that is right, and the registry of cases that change one thing in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from tests.engine.data.mock import write_field

HR = {"ny": 16, "nx": 16, "dy": 0.25, "dx": 0.25}  # lat 40 to 43.75, lon 0 to 3.75, 20 days from 2001-01-01 on
LR = {"ny": 6, "nx": 6, "south": 39.5, "west": -0.5, "dy": 1.0, "dx": 1.0}  # around it


@dataclass
class Request:
    """A folder with data and a spec, both right as long as nobody changes them."""

    here: Path

    def __post_init__(self) -> None:
        self.field("hr.nc", **HR)
        self.data: dict[str, Any] = {"target": {"path": "hr.nc"}, "scale": 4}
        self.sections: dict[str, Any] = {"version": 1}
        self.set: list[str] = []
        self.text: str | None = None  # of the spec, in place of the above

    def field(self, file: str, /, **what: Any) -> None:
        write_field(self.here / file, **what)

    def file(self, name: str, dataset: xr.Dataset) -> None:
        dataset.to_netcdf(self.here / name)

    def mos(self, **lr: Any) -> None:
        """Make it a MOS spec with an LR field that fits but for what is named."""
        self.field("lr.nc", **{**LR, **lr})
        self.data |= {"pairing": "mos", "lr": {"path": "lr.nc"}}

    @property
    def arguments(self) -> list[str]:
        spec = self.here / "spec.yaml"
        if self.text is None:
            spec.write_text(yaml.safe_dump({**self.sections, "data": self.data}))
        elif self.text:
            spec.write_text(self.text)
        return [str(spec), *(word for setting in self.set for word in ("--set", setting))]


CASES: dict[str, tuple[Callable[[Request], object], str]] = {}


def case(message: str) -> Callable[[Callable[[Request], object]], Callable[[Request], object]]:
    def register(change: Callable[[Request], object]) -> Callable[[Request], object]:
        CASES[change.__name__] = change, message
        return change

    return register
