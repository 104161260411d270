"""A run's trained networks, and their application to new LR data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from engine.data.hr_template import HrTemplate
from engine.data.normalizer import Normalizer, load_hr_template
from engine.data.pairs import Pairs, pair_for_downscaling
from engine.data.samples import Samples
from engine.data.station_inputs import open_series
from engine.errors import RunError
from engine.evaluation.any_grid import Destination, PlaceDownscaler, Places, write_at_places
from engine.evaluation.predict import Downscaler, write_downscaled
from engine.models.network import at_points, bound_of
from engine.models.second_network import reach_of
from engine.runs import Run
from engine.spec import Source
from engine.training import checkpoints
from engine.training.assembly import build_network, shape_of


def downscale(run: Run, data: str, path: Path, variable: str = "", stations: Source | None = None) -> tuple[str, ...]:
    """Apply the best weights of a run to new LR data, and write the result; returns notes on what was done.

    variable : name of the LR field in `data`, if it isn't that of the spec.
    stations : measurements at the times of `data`, for a run with `data.stations`.

    Raises
    ------
    RunError
        If the run has no trained weights yet.
    DataError
        If the new data don't fit the run.
    """
    normalizer, template = load_trained(run)
    pairs = pair_for_downscaling(run.spec.data, template, data, variable)
    pairs = _with_stations(run, pairs, normalizer, stations)
    followed: tuple[str, ...] = ()
    if normalizer.anomalies:
        anomalies, followed = normalizer.anomalies.follow(pairs)
        normalizer = replace(normalizer, anomalies=anomalies)
    networks = load_networks(run, pairs, normalizer)
    samples = Samples.of(run.spec, pairs, normalizer, pairs.parts.test)
    downscaler = Downscaler.of(networks, run.spec, samples)
    notes = write_downscaled(path, downscaler, samples, f"{run.title}, downscaled by run {run.id}")
    return (*pairs.notes, *followed, *notes)


def downscale_to(
    run: Run, data: str, path: Path, destination: Destination, variable: str = "", stations: Source | None = None
) -> tuple[str, ...]:
    """Apply the best weights of a run to new LR data, on their own grid, and write the fields at another destination.

    variable, stations : as for `downscale`.

    Raises
    ------
    RunError
        If the run has no trained weights yet, or was trained for one scale alone.
    DataError
        If the new data don't fit the run, or the destination lies outside of them.
    """
    spec = run.spec
    if not spec.model.scales:
        raise RunError(
            f"run {run.id} was trained for scale {spec.data.scale} and its own grid alone",
            action="train with model.upsampling=implicit, model.localized=false and model.scales=[2, 6], say",
        )
    normalizer, template = load_trained(run)
    pairs = pair_for_downscaling(spec.data, template, data, variable, as_given=True)
    pairs = _with_stations(run, pairs, normalizer, stations)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    cells, are_points = destination.cells(pairs.lr_grid), destination.points is not None
    places = Places.of(cells, are_points, pairs.lr_grid, template, normalizer)
    networks = [at_points(network) for network in load_networks(run, pairs, normalizer)]
    seen = reach_of(spec, shape_of(spec, pairs, normalizer), pairs.interpolation)
    bound = bound_of(spec.model, normalizer)
    downscaler = PlaceDownscaler(networks, seen, bound, pairs.interpolation)
    write_at_places(path, downscaler, samples, cells, are_points, places, f"{run.title}, downscaled by run {run.id}")
    sides = 1 / places.sides.max(), 1 / places.sides.min()
    low, high = spec.model.scales.plain()
    note = f"scales {sides[0]:.3g} to {sides[1]:.3g}"
    if sides[1] < 1.05 * sides[0]:
        note = f"scale {1 / np.median(places.sides):.3g}"
    if sides[0] < 0.99 * low or sides[1] > 1.01 * high:
        note += f": the run learned {low:g} to {high:g}, and is less certain beyond"
    return (*pairs.notes, note)


def load_trained(run: Run) -> tuple[Normalizer, HrTemplate]:
    """Normalizer and HR template of a run; raises RunError if it isn't trained yet."""
    trained = sum(run.best_of(number).exists() for number in range(run.spec.training.ensemble))
    if trained < run.spec.training.ensemble:
        has = f"weights of {trained} of {run.spec.training.ensemble} networks" if trained else "no trained weights yet"
        raise RunError(f"run {run.id} has {has}", action="let it train, or give another run")
    return Normalizer.load(run.normalizer_file), load_hr_template(run.normalizer_file)


def _with_stations(run: Run, pairs: Pairs, normalizer: Normalizer, source: Source | None) -> Pairs:
    """Add stations to pairs for downscaling, and notes on them; raises RunError if the run doesn't use any."""
    if not normalizer.stations:
        if source:
            raise RunError(f"run {run.id} uses no stations", action="train with data.stations, or leave out --stations")
        return pairs
    if not source:
        return replace(pairs, notes=(*pairs.notes, "no stations are given: fields are made without them"))
    notes = list(pairs.notes)
    series = open_series(source, pairs.hr, notes, "--stations", normalizer.stations.known)
    return replace(pairs, stations=series, notes=tuple(notes))


def load_networks(run: Run, pairs: Pairs, normalizer: Normalizer) -> list[keras.Model]:
    """Networks of a run's ensemble with their best weights, for fields of a grid."""
    networks = [build_network(run.spec, pairs, normalizer) for _ in range(run.spec.training.ensemble)]
    for number, network in enumerate(networks):
        restore_best_weights(network, run, number)
    return networks


def restore_best_weights(network: keras.Model, run: Run, number: int = 0) -> None:
    """Give the network the best weights of a run's network, counted from 0."""
    path = run.best_of(number)
    checkpoints.restore(network.variables, checkpoints.load(path)[0]["weights"], path)
