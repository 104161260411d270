"""Records made of plain JSON, each key checked by its declared type. Few imports: the agent on a site starts with it.

Keys that a record doesn't know are left out, so that files of older and newer versions can be read.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from engine.errors import RecordError

R = TypeVar("R")


def parse_record(kind: type[R], plain: object, where: str) -> R:
    """Make a record of plain JSON; raises RecordError, which names the key and `where`."""
    if not isinstance(plain, dict):
        raise RecordError(f"{where} holds a {type(plain).__name__}, expected an object")
    values: dict[str, object] = {}
    for name, expected, is_required in _fields(kind):  # type: ignore[arg-type]
        if name in plain:
            values[name] = _convert(expected, plain[name], f"{where}: {name}")
        elif is_required:
            raise RecordError(f"{where} holds no {name!r}")
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    hints = typing.get_type_hints(kind)
    required = (dataclasses.MISSING, dataclasses.MISSING)
    return [(f.name, hints[f.name], (f.default, f.default_factory) == required) for f in dataclasses.fields(kind)]


def _convert(expected: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], each, where) for each in value)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], each, where) for key, each in value.items()}
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return parse_record(expected, value, where)
    if isinstance(expected, type) and issubclass(expected, StrEnum) and value in list(expected):
        return expected(value)
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if expected is object or (expected in (str, int, bool) and type(value) is expected):
        return value
    raise RecordError(f"{where} holds {value!r:.60}")


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    kinds = [each for each in arguments if each is not type(None)]
    for kind in kinds[:-1]:
        if type(value) is kind:
            return value
    return _convert(kinds[-1], value, where)
