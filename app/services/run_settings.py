"""Settings of many runs, and those that differ; read once, as specs never change."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.services.comparison import Result
from engine.errors import MesoscopeError
from engine.options import to_plain
from engine.runs import Run
from engine.spec import SECTIONS, flow_yaml

MOST_KEPT = 4000
TRAINED_WITH = ("data", "model", "training")  # sections of a spec without title and place to run
_kept: dict[str, dict[str, str]] = {}  # by run folder


def settings_of(run: Run) -> dict[str, str]:
    """Options that differ from their default, as text by 'section.option'; nothing where the spec can't be read."""
    key = str(run.folder)
    if key not in _kept:
        try:
            sections = run.spec.changed()
        except (MesoscopeError, OSError):
            return {}
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        _kept[key] = {
            f"{section}.{option}": flow_yaml(value)
            for section, options in sections.items()
            if isinstance(options, dict)  # else it is the version
            for option, value in options.items()
        }
    return _kept[key]


def varied_settings(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """'section.option' → run id → value, for the options in which these runs differ; the default is left out."""
    settings = {run.id: settings_of(run) for run in runs}
    options = sorted({option for one in settings.values() for option in one} - {"launch.title"})
    differing = [option for option in options if len({one.get(option) for one in settings.values()}) > 1]
    return {option: {run: one[option] for run, one in settings.items() if option in one} for option in differing}


def differing_settings(runs: Sequence[Run]) -> dict[str, str]:
    """Run id → its values of the options in which these runs differ: 'backbone unet · epochs 60'."""
    varied = varied_settings(runs)
    return {
        run.id: " · ".join(
            f"{option.partition('.')[2]} {values.get(run.id, 'default')}" for option, values in varied.items()
        )
        for run in runs
    }


def default_of(setting: str) -> str:
    """The default of 'section.option' as text."""
    section, _, option = setting.partition(".")
    return flow_yaml(to_plain(SECTIONS[section].declared()[option].default))


def differing_options(results: Sequence[Result]) -> dict[str, list[str]]:
    """'section.option' → its value in each result, the default too, for the options in which trainings differ."""
    specs = [result.run.spec for result in results]
    differing = {}
    for section in TRAINED_WITH:
        plain = [getattr(spec, section).plain() for spec in specs]
        for option in plain[0]:
            values = [options[option] for options in plain]
            if any(value != values[0] for value in values):
                differing[f"{section}.{option}"] = [str(value) for value in values]
    return differing


def seed_groups(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one experiment that differ in nothing but `training.seed`, two or more each."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        spec = result.run.spec
        plain = {section: getattr(spec, section).plain() for section in TRAINED_WITH}
        plain["training"].pop("seed", None)
        groups.setdefault(json.dumps(plain, sort_keys=True, default=str), []).append(result)
    return [group for group in groups.values() if len({r.run.spec.training.seed for r in group}) > 1]
