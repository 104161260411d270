"""The command `verify`: scores by cell, season and scale, and more of a test part, in one of four forms."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

from engine.cli.inputs import store_of
from engine.cli.output import answer
from engine.errors import DataError, MesoscopeError, RequestError
from engine.runs import Run
from engine.tensorflow_import import quiet_import

if TYPE_CHECKING:
    import xarray as xr

Rows = Sequence[Sequence[str]]
CSV_HEADS = ("run", "table", "of", "product", "number", "value")


@dataclass
class Verified:
    """Verification of a run: facts for JSON, texts for a terminal, tables with captions for LaTeX."""

    run: Run
    facts: dict[str, object] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    tables: dict[str, Rows] = field(default_factory=dict)


def verify(args: argparse.Namespace) -> None:
    from engine.evaluation.products import second_beside
    from engine.evaluation.tables import latex_of
    from engine.evaluation.verification import write_verification

    runs = [store_of(args).run(name) for name in args.run]
    for run in runs:
        if not run.results.exists():
            raise RequestError(f"run {run.id} has no results yet", action="wait for its end, or resume it")
    if args.csv + args.latex + args.json > 1:
        raise RequestError("--csv, --latex and --json are given together", action="give one of them")
    at_stations = _at_stations(args, runs)
    found = []
    for run in runs:
        for note in () if run.baselines.is_file() else _fit_baselines(run):
            sys.stderr.write(f"note: {run.id}: {note}\n")
        verified = Verified(run)
        events = _exceedance(run, args.threshold)  # refused thresholds come before anything is written
        write_verification(run.results, run.verification)
        if run.done_file.exists():
            beside = second_beside(run.verification)
            run.write_manifest(run.verification, *([beside] if beside.exists() else []))
        _add_scores(verified)
        _add_vector_scores(verified)
        _add_physical(verified)
        if events is not None:
            _add_exceedance(verified, events)
        if run.id in at_stations:
            _add_stations(verified, at_stations[run.id])
        found.append(verified)
    if args.csv:
        answer(args, {}, _csv(found))
    elif args.latex:
        tables = (latex_of(rows, f"{v.run.title}: {text}") for v in found for text, rows in v.tables.items())
        answer(args, {}, "\n\n".join(tables))
    else:
        texts = ["\n".join([*v.texts, f"wrote {v.run.verification}"]) for v in found]
        answer(args, {v.run.id: v.facts for v in found}, "\n\n".join(texts))


def _add_vector_scores(verified: Verified) -> None:
    """Add the second component and the scores of both together, if the run has two targets."""
    from engine.data.netcdf import open_netcdf
    from engine.evaluation.products import second_beside
    from engine.evaluation.tables import aligned
    from engine.evaluation.vector_scores import plain, rows_of, vector_scores
    from engine.evaluation.verification import summary, table_of, to_text

    together = vector_scores(verified.run.results)
    if not together:
        return
    with open_netcdf(second_beside(verified.run.verification)) as verification:
        unit = str(verification["area_rmse"].attrs.get("units", ""))
        verified.facts |= {"second": summary(verification), "vector": plain(together)}
        verified.texts += ["second component", to_text(verification)]
        verified.tables |= {"second component": table_of(verification)}
    rows = rows_of(together)
    note = f"vector scores in {unit}, direction in degrees, divergence and vorticity in {unit} m-1"
    verified.texts += [aligned(rows), note]
    verified.tables["vector"] = rows


def _add_scores(verified: Verified) -> None:
    from engine.data.netcdf import open_netcdf
    from engine.evaluation import lead_times
    from engine.evaluation.verification import summary, table_of, to_text

    with open_netcdf(verified.run.verification) as verification:
        verified.facts |= summary(verification)
        title = f"{verified.run.title} ({verified.run.id})"
        verified.texts += [title, to_text(verification), _significance_text(verification)]
        verified.tables["scores"] = table_of(verification)
        if "lead" in verification:
            verified.facts["lead_times"] = lead_times.summary(verification)
            verified.texts.append(lead_times.to_text(verification))
            verified.tables["scores over all lead times"] = lead_times.table_of(verification)


def _add_physical(verified: Verified) -> None:
    """Plausibility of products, and indices of extremes where there are any."""
    from engine.evaluation import extremes, plausibility
    from engine.evaluation.products import open_products

    with open_products(verified.run.results) as results:
        attrs = results["hr"].attrs
        units, numbers = str(attrs.get("units", "")), plausibility.plausibility(results)
        verified.facts["plausibility"] = numbers
        verified.texts.append(plausibility.to_text(numbers, units))
        verified.tables["plausibility"] = plausibility.table_of(numbers, units)
        if not extremes.kind_of(attrs):
            return
        try:
            found = extremes.extremes(results)
        except DataError as error:
            verified.texts.append(f"no indices of extremes: {error}")
            return
        verified.facts["indices"] = extremes.summary(found)
        verified.texts.append(extremes.to_text(found))
        verified.tables[f"indices of extremes, HR and biases ({extremes.period_of(found)})"] = extremes.table_of(found)


def _exceedance(run: Run, thresholds: Sequence[float]) -> xr.Dataset | None:
    from engine.evaluation.exceedance import exceedance
    from engine.evaluation.products import open_products

    if not thresholds:
        return None
    with open_products(run.results) as results:
        return exceedance(results, sorted(set(thresholds)))


def _add_exceedance(verified: Verified, events: xr.Dataset) -> None:
    from engine.evaluation import exceedance

    verified.facts["exceedance"] = exceedance.summary(events)
    verified.texts.append(exceedance.to_text(events))
    verified.tables[exceedance.title_of(events)] = exceedance.table_of(events)


def _add_stations(verified: Verified, scored: xr.Dataset) -> None:
    from engine.evaluation import stations

    verified.facts["stations"] = stations.summary(scored)
    verified.texts += [stations.to_text(scored), f"wrote {verified.run.stations}"]
    over_all, each = stations.tables_of(scored)
    verified.tables |= {"scores over all pairs at stations": over_all, "RMSE at stations": each}


def _csv(found: Sequence[Verified]) -> str:
    """One row a number, in full precision: run, table, part of the table, product, number, value.

    A part is a season, a threshold, an index, a lead time in days or a station; `all` is all of these.
    Of indices of extremes, `value` and `bias` are means over the years, and a year is one by itself.
    """
    text = StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(CSV_HEADS)
    for verified in found:
        for row in _numbers(verified.facts):
            write([verified.run.id, *row])
    return text.getvalue().rstrip("\n")


def _numbers(facts: Mapping[str, object]) -> Iterator[tuple[object, ...]]:
    others = ("second", "vector", "plausibility", "indices", "exceedance", "lead_times", "stations")
    components = {"scores": [pair for pair in facts.items() if pair[0] not in others]}
    components["second component"] = list(_items(facts.get("second", {})))
    for table, seasons in components.items():
        for season, products in seasons:
            yield from ((table, season, *row) for row in _flat(products))
    yield from (("vector", "", *row) for row in _flat(facts.get("vector", {})))
    yield from (("plausibility", "", *row) for row in _flat(facts["plausibility"]))
    for threshold, products in _items(facts.get("exceedance", {})):
        yield from (("exceedance", threshold, *row) for row in _flat(products))
    for name, index in _items(facts.get("indices", {})):
        of_index = dict(_items(index))
        yield "indices", name, "hr", "value", of_index["hr"]
        yield from (("indices", name, product, "bias", bias) for product, bias in _items(of_index["bias"]))
        for year, products in _items(of_index["years"]):
            yield from (("indices", name, product, year, value) for product, value in _items(products))
    yield from _numbers_by_lead(facts.get("lead_times", {}))
    yield from _numbers_at_stations(facts.get("stations", {}))


def _numbers_by_lead(leads: Any) -> Iterator[tuple[object, ...]]:
    if not leads:
        return
    yield from (("lead times", "all", *row) for row in _flat(leads["all"]))
    for product, numbers in leads["products"].items():
        for number, values in numbers.items():
            of_days = zip(leads["days"], values, strict=True)
            yield from (("lead times", f"{day:g}", product, number, value) for day, value in of_days)


def _numbers_at_stations(stations: Any) -> Iterator[tuple[object, ...]]:
    if not stations:
        return
    yield from (("stations", "all", *row) for row in _flat(stations["all"]))
    for station, of_station in stations["each"].items():
        yield from (("stations", station, *row) for row in _flat(of_station["scores"]))


def _flat(products: object) -> Iterator[tuple[object, ...]]:
    for product, numbers in _items(products):
        yield from ((product, number, value) for number, value in _items(numbers))


def _items(mapping: object) -> Iterator[tuple[str, object]]:
    assert isinstance(mapping, Mapping)
    yield from mapping.items()


def _fit_baselines(run: Run) -> tuple[str, ...]:
    """Fit the baselines that a run lacks, from its data; returns notes: what was done, or why there are none."""
    with quiet_import():
        from engine.late_baselines import fit_late_baselines
    try:
        notes = fit_late_baselines(run)
    except (MesoscopeError, OSError) as error:
        return (f"no baselines could be fitted: {error}",)
    return (*notes, f"wrote {run.baselines}") if run.baselines.is_file() else notes


def _at_stations(args: argparse.Namespace, runs: list[Run]) -> dict[str, xr.Dataset]:
    """Verify runs at stations, and write stations.nc of each, if there are stations: {run: as written}."""
    from engine.data.stations import open_stations
    from engine.runs.stations import verify_run_at_stations

    if args.stations is None:
        if args.station_variable or args.height_correction is not None or args.at != "nearest":
            raise RequestError(
                "--station-variable, --at and --height-correction are for stations", action="give --stations FILE"
            )
        return {}
    notes: list[str] = []
    measured = open_stations(args.stations, args.station_variable, notes)
    options = {"method": args.at, "lapse_rate": args.height_correction, "notes": notes}
    return {run.id: verify_run_at_stations(run, measured, **options) for run in runs}


def _significance_text(verification: xr.Dataset) -> str:
    """Format RMSE with its interval, and the network against the best simple method."""
    from engine.evaluation.significance import best_of, errors_of, intervals, verdict

    errors, _ = errors_of({"downscaled": verification})
    if not len(errors.weight):
        return "no values to compare"
    best = best_of(errors, errors.products[:-1])
    rmse = {product: of_product["rmse"] for product, of_product in intervals(errors).items()}
    lines = [
        f"RMSE of {product}: {each.value:.4g} ({each.low:.4g} to {each.high:.4g})" for product, each in rmse.items()
    ]
    lines.append(f"against {best}, downscaled is {verdict(errors, 'downscaled', best) or 'not tested: too few steps'}")
    return "\n".join(["95 % intervals (block bootstrap):", *lines])
