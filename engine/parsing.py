"""Records made of plain JSON, each key checked by its declared type. Few imports: the agent on a site starts with it.

Unknown keys are left out, so that files of older and newer versions can be read.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from engine.errors import RecordError

R = TypeVar("R")
Convert = Callable[[Any, str], Any]  # value, and where it stands


def parse_record(kind: type[R], plain: object, where: str) -> R:
    """Make a record of plain JSON; raises RecordError, which names the key and `where`."""
    if not isinstance(plain, dict):
        raise RecordError(f"{where} holds a {type(plain).__name__}, expected an object")
    values: dict[str, object] = {}
    for name, convert, is_required in _fields(kind):  # type: ignore[arg-type]
        if name in plain:
            values[name] = convert(plain[name], f"{where}: {name}")
        elif is_required:
            raise RecordError(f"{where} holds no {name!r}")
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[str, Convert, bool]]:
    hints = typing.get_type_hints(kind)
    required = (dataclasses.MISSING, dataclasses.MISSING)
    return [
        (f.name, _converter(hints[f.name]), (f.default, f.default_factory) == required)
        for f in dataclasses.fields(kind)
    ]


@cache
def _converter(expected: Any) -> Convert:
    """Function that converts JSON to a declared type; made once for each, as records are read many times a second."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return _union_converter(arguments)
    if origin is tuple:
        item = _converter(arguments[0])
        return lambda value, where: tuple(item(each, where) for each in _checked(value, list, where))
    if origin is dict:
        item = _converter(arguments[1])
        return lambda value, where: {key: item(each, where) for key, each in _checked(value, dict, where).items()}
    if expected is object:
        return lambda value, where: value
    if expected is float:
        return lambda value, where: float(value) if type(value) is int else _checked(value, float, where)
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return lambda value, where: parse_record(expected, value, where)
    if issubclass(expected, StrEnum):
        words = {str(word): word for word in expected}
        return lambda value, where: words[value] if value in list(words) else _checked(value, expected, where)
    return lambda value, where: _checked(value, expected, where)


def _union_converter(arguments: tuple[Any, ...]) -> Convert:
    """Convert None where it is among them, keep a value of the first types, else convert to the last type."""
    *plain, last = (each for each in arguments if each is not type(None))
    convert, is_optional = _converter(last), type(None) in arguments

    def converted(value: Any, where: str) -> Any:
        is_as_declared = (value is None and is_optional) or type(value) in plain
        return value if is_as_declared else convert(value, where)

    return converted


def _checked(value: Any, expected: type, where: str) -> Any:
    if type(value) is not expected:
        raise RecordError(f"{where} holds {value!r:.60}")
    return value
