"""Every network that there is: 36 spatial ones and 30 that go through the steps of a time window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.models.shapes import Shape
from engine.spec import RECURRENT, ModelOptions

UPSAMPLINGS = ModelOptions.declared()["upsampling"].objects


@dataclass(frozen=True)
class Combination:
    """A backbone, an upsampling, and how many time steps the network sees."""

    backbone: str
    upsampling: str
    window: int = 1
    scales: tuple[float, float] | None = None

    def __str__(self) -> str:
        more = ("-recurrent" if self.window > 1 else "") + ("-scales" if self.scales else "")
        return f"{self.backbone}-{self.upsampling}{more}"

    @property
    def model(self) -> dict[str, Any]:
        return {"backbone": self.backbone, "upsampling": self.upsampling, "scales": self.scales}

    def shape(self, y_lr: int, x_lr: int, fields: int, static: int, scale: int, known: int = 0) -> Shape:
        """Of inputs with so many fields at each step and `known` channels more."""
        return Shape(y_lr, x_lr, self.window * fields + known, static, scale, self.window, fields)


SPATIAL = [
    Combination(backbone, upsampling)
    for backbone, upsampling in product(ModelOptions.declared()["backbone"].objects, UPSAMPLINGS)
    if backbone != "unet" or upsampling == "pin"
]
SPATIO_TEMPORAL = [
    Combination(backbone, upsampling, window=3) for backbone, upsampling in product(RECURRENT, UPSAMPLINGS)
]
ANY_SCALE = [
    Combination("swin", "implicit", scales=(1.5, 3)),
    Combination("resnet", "implicit", window=3, scales=(1.5, 3)),
]
COMBINATIONS = [*SPATIAL, *SPATIO_TEMPORAL]
