"""For every declared option a value that is not its default, and what else has to change with it."""

from __future__ import annotations

from typing import Any

from engine.options import Choice, Flag, Real, Text, Value, Values, Whole
from engine.spec import SECTIONS

BASE = {
    "version": 1,
    "data": {"target": {"path": "hr.nc"}, "scale": 2},
    "model": {"localized": False, "n_filters": 6, "n_blocks": 1},
}

BY_HAND: dict[str, dict[str, dict[str, Any]]] = {
    "data.target": {"data": {"target": {"path": ["a.nc", "b/*.nc"], "variable": "t2m", "units": "K"}}},
    "data.pairing": {"data": {"pairing": "mos", "lr": {"path": "lr.nc"}}},
    "data.lr": {"data": {"pairing": "mos", "lr": {"path": "lr: odd, [name].nc", "variable": "tas"}}},
    "data.target_v": {"data": {"target_v": {"path": "v.nc", "variable": "vas"}}},
    "data.lr_v": {"data": {"target_v": {"path": "v.nc"}, "lr": {"path": "lr.nc"}, "lr_v": {"path": "lr_v.nc"}}},
    "data.predictors": {"data": {"predictors": [{"path": "p.nc", "variable": "psl"}, {"path": "q.nc", "units": "1"}]}},
    "data.static": {"data": {"static": [{"path": "dem.nc"}]}},
    "data.stations": {"data": {"stations": {"path": "stations.csv", "variable": "tas"}}},
    "data.scale": {"data": {"scale": 4}},
    "data.region": {"data": {"region": {"lat": [40.2, 43.3], "lon": [-1.0, 4.0]}}},
    "data.period": {"data": {"period": ["2001-01-03", "2001-01-20"]}},
    "data.split": {"data": {"split": {"train": 0.5, "validation": 0.25, "test": 0.2, "gap": 1}}},
    "data.time_window": {"data": {"time_window": 3}},
    "data.patch_size": {"data": {"patch_size": 4}},
    "model.localized": {"model": {"localized": False}},  # the default is true, unlike in BASE
    "model.scales": {"model": {"upsampling": "implicit", "scales": [2, 3]}},
    "model.noise": {"model": {"noise": 1}, "training": {"loss": "crps"}},
    "launch.site": {"launch": {"site": "cluster-2"}},
    "training.start_from": {"training": {"start_from": "20260101-000000-first-0a1b"}},
    "launch.nodes": {"launch": {"nodes": 2, "processes": 2}},
    "launch.threads": {"launch": {"threads": 3}},
    "launch.partition": {"launch": {"partition": "gpu-2"}},
    "launch.account": {"launch": {"account": "climate"}},
    "launch.title": {"launch": {"title": "Größe: [α] # 'first', \"try\""}},
}


def variants() -> dict[str, dict[str, dict[str, Any]]]:
    """'section.option' → sections to put over BASE. Choices of one word have no other value and are left out."""
    declared = {f"{section}.{name}": option for section, kind in SECTIONS.items() for name, option in _of(kind)}
    return {path: BY_HAND.get(path) or _other(path, option) for path, option in declared.items() if _has_other(option)}


def with_variant(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """BASE with the options of a variant put in."""
    return {**BASE, **{section: {**BASE.get(section, {}), **options} for section, options in sections.items()}}


def _of(kind: Any) -> Any:
    return kind.declared().items()


def _has_other(option: Any) -> bool:
    return not (isinstance(option, Choice) and len(option.objects) == 1)


def _other(path: str, option: Any) -> dict[str, dict[str, Any]]:
    section, name = path.split(".")
    return {section: {name: _other_value(path, option)}}


def _other_value(path: str, option: Any) -> Any:
    """Another value, by the kind of the declaration."""
    if isinstance(option, Flag):
        return not option.default
    if isinstance(option, Choice):
        return next(word for word in option.objects if word != option.default)
    if isinstance(option, Whole):
        return option.default + 1
    if isinstance(option, Real):
        low, high = option.bounds
        return option.default + 0.1 if high is None or option.default + 0.1 <= high else (low + option.default) / 2
    kinds = (Text, Value, Values)
    raise AssertionError(f"{path} is new: give another value for it in BY_HAND ({kinds} can't be guessed)")
