"""Skill of runs against their cost, and against the settings in which they differ: what the charts of Runs draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.services.run_settings import default_of, varied_settings
from app.services.watcher import RunSnapshot
from engine.evaluation.tables import badness

MOST_AXES = 8
MOST_CATEGORIES = 12  # of an option without numbers: more can't be distinguished on an axis
SECTIONS = ("data", "model", "training")  # of the settings that a score may follow from


@dataclass(frozen=True)
class RunCost:
    """A finished run: its training time in seconds, and the mean of a score over its test part."""

    id: str
    title: str
    seconds: float
    score: float


@dataclass(frozen=True)
class SettingAxis:
    """An option in which runs differ.

    places : of each run between 0 and 1. ticks : place → value there.
    """

    option: str
    places: np.ndarray
    ticks: dict[float, str]


def targets_of(seen: Sequence[RunSnapshot]) -> list[str]:
    """Targets of finished runs, the most frequent first: only runs of one target have comparable scores."""
    targets = [one.target for one in seen if one.scores]
    return sorted(set(targets), key=lambda target: (-targets.count(target), target))


def run_costs(seen: Sequence[RunSnapshot], target: str, score: str) -> list[RunCost]:
    """Runs of a target that have the score and a training time; `score` : one of METRICS."""
    costs = []
    for one in seen:
        seconds = one.latest.get("elapsed_s")
        value = one.scores.get("downscaled", {}).get(score, {}).get("mean")
        if one.target == target and seconds and value is not None and math.isfinite(seconds) and math.isfinite(value):
            costs.append(RunCost(one.id, one.title, seconds, value))
    return costs


def pareto_front(costs: Sequence[RunCost], score: str) -> list[RunCost]:
    """Runs than which none has a better score after less training, in the order of their time."""
    front: list[RunCost] = []
    for cost in sorted(costs, key=lambda cost: (cost.seconds, badness(score, cost.score))):
        if not front or badness(score, cost.score) < badness(score, front[-1].score):
            front.append(cost)
    return front


def setting_axes(seen: Sequence[RunSnapshot]) -> list[SettingAxis]:
    """One axis for each option that the runs vary, at most MOST_AXES: numbers in their order, categories by name.

    Reads the specs of the runs, once each.
    """
    varied = varied_settings([one.run for one in seen])
    axes = []
    for option, values in varied.items():
        texts = [values.get(one.id) or default_of(option) for one in seen]
        if option.startswith(SECTIONS) and (axis := _axis(option, texts)) is not None:
            axes.append(axis)
    return axes[:MOST_AXES]


def number_axis(name: str, numbers: Sequence[float]) -> SettingAxis:
    """Places of numbers between the smallest and the largest."""
    values = np.asarray(numbers, dtype=float)
    low, high = float(values.min()), float(values.max())
    places = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    return SettingAxis(name, places, {0.0: f"{low:.4g}", 1.0: f"{high:.4g}"} if high > low else {0.5: f"{low:.4g}"})


def _axis(option: str, texts: Sequence[str]) -> SettingAxis | None:
    try:
        return number_axis(option, [float(text) for text in texts])
    except ValueError:
        categories = sorted(set(texts))
    if len(categories) > MOST_CATEGORIES:
        return None
    place = {category: at / (len(categories) - 1) for at, category in enumerate(categories)}
    ticks = {at: category for category, at in place.items()}
    return SettingAxis(option, np.array([place[text] for text in texts]), ticks)
