"""Groups of options, each declared once: type, default, bounds, unit, doc.

A group rejects unknown options, is sealed after its checks, and compares by value. Editable
copies for forms come from `draft()`; `seal()` turns a draft back into a checked group.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import param

from engine.errors import SpecError


def nearest(given: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word: 'did you mean …?', or '' if it is like none of the known."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word: 'did you mean …?', or the list of known words."""
    known = list(known)
    return nearest(given, known) or f"known are {', '.join(known)}"


class Real(param.Number):
    """A number; booleans are refused."""

    __slots__ = ["unit"]
    _slot_defaults: ClassVar[dict[str, object]] = {**param.Number._slot_defaults, "unit": ""}

    def __init__(self, default: Any = param.Undefined, *, unit: Any = param.Undefined, **declared: Any):
        self.unit = unit
        super().__init__(default, **declared)

    def _validate_value(self, value: Any, allow_None: bool) -> None:  # noqa: N803
        if isinstance(value, bool):
            raise ValueError("a boolean is not a number")
        super()._validate_value(value, allow_None)

    def expected(self) -> str:
        return "a number" + _between(self.bounds, self.inclusive_bounds) + _unit(self.unit)


class Whole(Real, param.Integer):
    """A whole number; booleans are refused."""

    __slots__ = []
    _slot_defaults: ClassVar[dict[str, object]] = {**param.Integer._slot_defaults, "unit": ""}

    def expected(self) -> str:
        return "a whole number" + _between(self.bounds) + _unit(self.unit)


class Flag(param.Boolean):
    """Yes or no; the words of YAML 1.1 are understood."""

    WORDS: ClassVar[dict[str, bool]] = {"yes": True, "on": True, "no": False, "off": False}

    def parse(self, value: Any, where: str) -> Any:
        return self.WORDS.get(value.lower(), value) if isinstance(value, str) else value

    def expected(self) -> str:
        return "true or false"


class Text(param.String):
    """A line of text that can be written as UTF-8; all of it matches `regex`, a line break at its end too."""

    def _validate_value(self, val: Any, allow_None: bool) -> None:  # noqa: N803
        super()._validate_value(val, allow_None)
        if isinstance(val, str):
            val.encode()

    def _validate_regex(self, val: Any, regex: Any) -> None:
        if regex is not None and isinstance(val, str) and not re.fullmatch(regex, val):
            raise ValueError(f"{val!r} doesn't match {regex}")

    def expected(self) -> str:
        return "text" + (f" matching {self.regex}" if self.regex else "")


class Words(param.Parameter):
    """A list of words, each matching `regex`."""

    __slots__ = ["regex"]
    _slot_defaults: ClassVar[dict[str, object]] = {**param.Parameter._slot_defaults, "regex": ""}

    def __init__(self, default: Any = (), *, regex: Any = param.Undefined, **declared: Any):
        self.regex = regex
        super().__init__(tuple(default), **declared)

    def parse(self, value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise SpecError(f"{where} is {value!r}", hint=f"expected {self.expected()}")
        return tuple(value)

    def _validate(self, val: Any) -> None:
        if not (isinstance(val, tuple) and all(isinstance(v, str) and re.fullmatch(self.regex, v) for v in val)):
            raise ValueError(f"not a tuple of words matching {self.regex}")

    def expected(self) -> str:
        return f"a list of words, each matching {self.regex}"


class Choice(param.Selector):
    """One word of a fixed list."""

    def __init__(self, objects: Any = param.Undefined, **declared: Any):
        super().__init__(objects=objects, **declared)

    def expected(self) -> str:
        return "one of " + ", ".join(map(str, self.objects))

    def nearest(self, value: Any) -> str:
        """A hint for a mistyped word, or ''."""
        return nearest(value, map(str, self.objects)) if isinstance(value, str) else ""


class Value(param.Parameter):
    """One frozen value type with parts of its own, given as a mapping."""

    __slots__ = ["kind"]
    _slot_defaults: ClassVar[dict[str, object]] = {**param.Parameter._slot_defaults, "kind": None}

    def __init__(self, kind: Any = param.Undefined, default: Any = param.Undefined, **declared: Any):
        self.kind = kind
        super().__init__(default, **declared)

    def parse(self, value: Any, where: str) -> Any:
        return value if value is None or isinstance(value, self.kind) else self.kind.parse(value, where)

    def _validate(self, val: Any) -> None:
        if not (isinstance(val, self.kind) or (val is None and self.default is None)):
            raise ValueError(f"not a {self.kind.__name__}")

    def expected(self) -> str:
        return self.kind.EXPECTED


class Values(param.Parameter):
    """A list of one frozen value type."""

    __slots__ = ["kind"]
    _slot_defaults: ClassVar[dict[str, object]] = {**param.Parameter._slot_defaults, "kind": None}

    def __init__(self, kind: Any = param.Undefined, default: Any = (), **declared: Any):
        self.kind = kind
        super().__init__(tuple(default), **declared)

    def parse(self, value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise SpecError(f"{where} is {value!r}", hint=f"expected {self.expected()}")
        parse = self.kind.parse
        return tuple(
            v if isinstance(v, self.kind) else parse(v, f"{where}[{number}]") for number, v in enumerate(value)
        )

    def _validate(self, val: Any) -> None:
        if not (isinstance(val, tuple) and all(isinstance(v, self.kind) for v in val)):
            raise ValueError(f"not a tuple of {self.kind.__name__}")

    def expected(self) -> str:
        return f"a list, each {self.kind.EXPECTED}"


class Options(param.Parameterized):
    """A strict group of options. Subclasses declare them, and override `check` to check them against each other."""

    SECTION: ClassVar[str] = ""

    def __init__(self, **given: Any):
        self._sealed = False
        declared = self.declared()
        for word in given:
            if word not in declared:
                raise SpecError(f"{self.SECTION}.{word} is not an option", hint=did_you_mean(word, declared))
        super().__init__()
        for word, value in given.items():
            self.set(word, value)
        self.check()
        self._sealed = True

    @classmethod
    def declared(cls) -> dict[str, param.Parameter]:
        """Name → declaration, in the order of declaration."""
        return {word: cls.param[word] for word in cls.param if word != "name"}

    def check(self) -> None:
        """Check the options against each other; raises SpecError."""

    def plain(self) -> dict[str, object]:
        """Every option as plain YAML types."""
        return {word: to_plain(getattr(self, word)) for word in self.declared()}

    def changed(self) -> dict[str, object]:
        """The options that differ from their default, as plain YAML types."""
        return {
            word: to_plain(getattr(self, word))
            for word, option in self.declared().items()
            if getattr(self, word) != option.default
        }

    def replace(self, **given: Any) -> Self:
        """A checked copy with other values."""
        return type(self)(**{**{word: getattr(self, word) for word in self.declared()}, **given})

    def draft(self) -> Self:
        """An editable copy: each value is checked when set, the whole when sealed again."""
        copy = type(self).__new__(type(self))
        copy._sealed = False
        param.Parameterized.__init__(copy, **{word: getattr(self, word) for word in self.declared()})
        return copy

    def seal(self) -> Self:
        """A checked, sealed copy of a draft."""
        return self.replace()

    def set(self, word: str, value: Any) -> None:
        """Set an option of a draft from a plain value; raises SpecError."""
        where, option = f"{self.SECTION}.{word}", type(self).param[word]  # a copy for each instance takes ms
        try:
            setattr(self, word, option.parse(value, where) if hasattr(option, "parse") else value)
        except SpecError as error:  # of a part of the value
            raise SpecError(error.problem, option=where, hint=error.hint, action=error.action) from None
        except (ValueError, TypeError):
            raise SpecError(
                f"{where} is {value!r}",
                option=where,
                hint=f"expected {option.expected()}",
                action=option.nearest(value) if isinstance(option, Choice) else "",
            ) from None

    def __setattr__(self, word: str, value: Any) -> None:
        if getattr(self, "_sealed", False) and word in self.declared():
            raise SpecError(f"{self.SECTION}.{word} is sealed", action=f"use replace({word}=…), or edit a draft()")
        super().__setattr__(word, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(repr(self.plain()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{w}={v!r}' for w, v in self.changed().items())})"


def to_plain(value: Any) -> Any:
    """Frozen values and tuples as plain YAML types."""
    if hasattr(value, "plain"):
        return value.plain()
    return [to_plain(v) for v in value] if isinstance(value, list | tuple) else value


def parts_of(kind: Any, value: Any, where: str) -> Mapping[str, Any]:
    """The given mapping, if it holds only fields of the frozen dataclass `kind`; raises SpecError."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} is {value!r}", hint=f"expected {kind.EXPECTED}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for word in value:
        if word not in fields:
            raise SpecError(f"{where}.{word} is not known", hint=did_you_mean(str(word), fields))
    for word, field in fields.items():
        if word not in value and field.default is dataclasses.MISSING:
            raise SpecError(f"{where}.{word} is missing", hint=f"expected {kind.EXPECTED}")
    return value


def _between(bounds: Any, inclusive: tuple[bool, bool] = (True, True)) -> str:
    low, high = bounds or (None, None)
    if low is not None and high is not None:
        return f" from {low} to {high}" if inclusive[0] else f" above {low}, at most {high}"
    if low is not None:
        return f" from {low} on" if inclusive[0] else f" above {low}"
    return "" if high is None else f" up to {high}"


def _unit(unit: str) -> str:
    return f" ({unit})" if unit else ""
