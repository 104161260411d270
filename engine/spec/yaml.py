"""A spec as text: strict YAML, and `--set section.option=value`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from engine.errors import SpecError


def load_yaml(text: str, where: str) -> Any:
    """YAML text as plain types; raises SpecError with the line of the fault."""
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        fault = f"line {mark.line + 1}: {getattr(error, 'problem', error)}" if mark else str(error)
        raise SpecError(
            f"{where} is not YAML ({fault})", hint="expected lines such as 'training: {epochs: 30}'"
        ) from None


def dump_yaml(plain: Any) -> str:
    return yaml.dump(plain, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True, width=100)


def flow_yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.dump(
        value, Dumper=_StrictDumper, default_flow_style=True, allow_unicode=True, width=2**31, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def with_settings(plain: Any, settings: Iterable[str]) -> Any:
    """A copy of a spec's mapping with `section.option=value` (or `section.option.part=value`) put in."""
    plain = _unshared(plain)
    for setting in settings:
        path, equals, text = setting.partition("=")
        words = path.strip().split(".")
        if not equals or len(words) < 2 or not all(words):
            raise SpecError(f"--set {setting}", hint="expected section.option=value, as in training.epochs=30")
        group = plain
        for word in words[:-1]:
            group[word] = {} if group.get(word) is None else group[word]
            group = group[word]
            if not isinstance(group, dict):
                raise SpecError(f"--set {setting}", hint=f"{word} has no parts; expected section.option=value")
        group[words[-1]] = load_yaml(text, f"--set {setting}")
    return plain


def _unshared(plain: Any) -> Any:
    """A deep copy in which what YAML aliases share is copied too."""
    if isinstance(plain, Mapping):
        return {key: _unshared(value) for key, value in plain.items()}
    return [_unshared(value) for value in plain] if isinstance(plain, list) else plain


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
