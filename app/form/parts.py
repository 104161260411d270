"""Fields of a value with parts: region, period, scales, split."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from app.form.field import SMALL, Field, field_heading, read_number
from app.formatting import plain_text
from engine.errors import SpecError
from engine.spec import Split


class PartsField(Field):
    """A value with parts: one small line for each; all empty means none."""

    PARTS: ClassVar[dict[str, str]] = {}  # part → placeholder

    def _build(self) -> pn.viewable.Viewable:
        self._lines = {part: pmui.TextInput(label=part, placeholder=hint, **SMALL) for part, hint in self.PARTS.items()}
        for line in self._lines.values():
            line.param.watch(self._report, "value")
        self._fault = pmui.Typography("", color="error", variant="caption", visible=False, margin=0)
        return pmui.Column(
            field_heading(self), pmui.Row(*self._lines.values(), sx={"gap": "8px"}, margin=0), self._fault, margin=0
        )

    def raw(self) -> Any:
        texts = {part: line.value.strip() for part, line in self._lines.items()}
        return self._join(texts) if any(texts.values()) else None

    def fault(self, message: str) -> None:
        self._fault.param.update(object=plain_text(message), visible=bool(message))
        for line in self._lines.values():
            line.error_state = bool(message)

    def _put(self, plain: Any) -> None:
        texts = self._part(plain) if plain is not None else {}
        for part, line in self._lines.items():
            line.value = texts.get(part, "")

    @abstractmethod
    def _join(self, texts: dict[str, str]) -> Any: ...

    @abstractmethod
    def _part(self, plain: Any) -> dict[str, str]: ...


class RegionField(PartsField):
    PARTS: ClassVar[dict[str, str]] = {"south": "50", "north": "58", "west": "-10", "east": "2"}

    def _join(self, texts: dict[str, str]) -> Any:
        edges = {part: read_number(text) for part, text in texts.items()}
        return {"lat": [edges["south"], edges["north"]], "lon": [edges["west"], edges["east"]]}

    def _part(self, plain: Any) -> dict[str, str]:
        (south, north), (west, east) = plain["lat"], plain["lon"]
        return {"south": f"{south:.9g}", "north": f"{north:.9g}", "west": f"{west:.9g}", "east": f"{east:.9g}"}


class PeriodField(PartsField):
    PARTS: ClassVar[dict[str, str]] = {"first": "1981-01-01", "last": "2010-12-31"}

    def _join(self, texts: dict[str, str]) -> Any:
        return [texts["first"], texts["last"]]

    def _part(self, plain: Any) -> dict[str, str]:
        return {"first": plain[0], "last": plain[1]}


class ScalesField(PartsField):
    PARTS: ClassVar[dict[str, str]] = {"smallest": "2", "largest": "6"}

    def _join(self, texts: dict[str, str]) -> Any:
        return [read_number(text) for text in texts.values()]

    def _part(self, plain: Any) -> dict[str, str]:
        return {part: f"{scale:g}" for part, scale in zip(self.PARTS, plain, strict=True)}


class SplitField(PartsField):
    """Fractions, or two dates each as 'first, last'; of several periods, these one after another."""

    PARTS: ClassVar[dict[str, str]] = {"train": "0.7", "validation": "0.15", "test": "0.15", "gap": "0"}

    def _join(self, texts: dict[str, str]) -> Any:
        parts: dict[str, object] = {
            part: _fraction_or_dates(texts[part], part) for part in ("train", "validation", "test")
        }
        gap = read_number(texts["gap"], whole=True)
        return parts if gap is None else {**parts, "gap": gap}

    def _part(self, plain: Any) -> dict[str, str]:
        return {part: _dates_text(v) if isinstance(v, list) else f"{v:g}" for part, v in plain.items()}


def _dates_text(dates: list[Any]) -> str:
    pairs = dates if isinstance(dates[0], list) else [dates]
    return ", ".join(date for pair in pairs for date in pair)


def _fraction_or_dates(text: str, part: str) -> Any:
    if "," in text:
        dates = [part.strip() for part in text.strip("[]").split(",")]
        return dates if len(dates) % 2 or len(dates) == 2 else [dates[k : k + 2] for k in range(0, len(dates), 2)]
    number = read_number(text)
    if number is None:
        raise SpecError(f"data.split has no {part}: expected {Split.EXPECTED}")
    return number
