"""Records of the parts that a field goes through in a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part of the network, with the sides and channels of what it hands on.

    times : so many of the same, one after another, with `parameters` together.
    sees : LR cells along a side that one value of the part depends on, at most; None: the whole field.
    network : what its network gives, where that isn't the field: velocity or context.
    """

    name: str
    does: str
    y: int
    x: int
    channels: int
    parameters: int
    sees: int | None
    times: int = 1
    network: str = ""


@dataclass(frozen=True)
class MeasuredPart(Part):
    """A part of the network, with the width of what it sees; None: the whole field."""

    sees_km: float | None = None
