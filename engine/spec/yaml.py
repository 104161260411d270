"""A spec as text: strict YAML, and `--set section.option=value`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from engine.errors import SpecError

MOST_VALUES = 1_000_000  # of a file, with what aliases repeat
LONGEST_NUMBER = 100  # characters of a whole number


def load_yaml(text: str, where: str) -> Any:
    """YAML text as plain types; raises SpecError with the line of the fault."""
    try:
        plain = yaml.load(text, _StrictLoader)
        _check_size(plain)
        return plain
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        fault = f"line {mark.line + 1}: {getattr(error, 'problem', error)}" if mark else str(error)
        fault = "it is nested too deep" if isinstance(error, RecursionError) else fault
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
    """A copy of a spec's mapping with `section.option=value` (or `section.option.part=value`) put in.

    What is no mapping is returned as it is, so that it is refused like a spec without settings.
    """
    if not isinstance(plain, Mapping):
        return plain
    plain = _deep_copy(plain)
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


def _deep_copy(plain: Any) -> Any:
    """A deep copy in which what YAML aliases share is copied too."""
    if isinstance(plain, Mapping):
        return {key: _deep_copy(value) for key, value in plain.items()}
    return [_deep_copy(value) for value in plain] if isinstance(plain, list) else plain


def _check_size(plain: Any) -> None:
    """Refuse values that hold themselves, or that aliases repeat beyond measure; both are small as text."""
    waiting, count = [plain], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"an alias refers to itself, or there are more than {MOST_VALUES:,} values")
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, and reads 1e-3, dates, yes and no as YAML 1.2 does.

    Dates are text because 30 February is a day of some calendars, `NO` because it is a gas.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
        try:
            node.value.encode()
            if kind == "int" and len(node.value) > LONGEST_NUMBER:
                raise yaml.YAMLError(f"line {line}: a number has {len(node.value):,} digits")
            return super().construct_object(node, deep)
        except UnicodeEncodeError:
            raise yaml.YAMLError(f"line {line}: {node.value[:40]!r} has a character that is no Unicode") from None
        except (AttributeError, KeyError, ValueError):  # what PyYAML raises for text that doesn't fit its tag
            raise yaml.YAMLError(f"line {line}: {node.value[:40]!r} is no {kind}") from None

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
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in ("timestamp", "bool")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
for _kind in (_StrictLoader, _StrictDumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
