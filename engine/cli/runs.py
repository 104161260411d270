"""Commands on runs of the store: runs, show, logs, cancel, resume, scores, verify, report, downscale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.cli.inputs import refresh, run_of, store_of
from engine.cli.output import answer, scores_table
from engine.cli.output_file import checked_output
from engine.errors import MesoscopeError, RequestError
from engine.files import to_json, write_whole
from engine.runs import Run, RunState
from engine.spec import Source, flow_yaml
from engine.tensorflow_import import quiet_import

if TYPE_CHECKING:
    import xarray as xr


def list_runs(args: argparse.Namespace) -> None:
    refresh(args)
    rows = [_row(run) for run in store_of(args).runs()]
    text = "\n".join(f"{row['run']:<64} {row['state']:<10} {row['epoch']:>9} {row['title']}" for row in rows)
    answer(args, {"runs": rows}, text or f"no runs in {store_of(args).folder}")


def show(args: argparse.Namespace) -> None:
    run = run_of(args)
    row = _row(run)
    if row["state"] == RunState.DAMAGED:
        answer(args, {**row, "folder": str(run.folder)}, f"{run.id}: damaged ({row['reason']})\nin {run.folder}")
        return
    facts = {
        **row,
        "folder": str(run.folder),
        "latest": run.latest(),
        "scores": run.scores(),
        "spec": run.spec.plain(),
    }
    lines = [f"{run.id}: {row['state']}{' (' + row['reason'] + ')' if row['reason'] else ''}", f"in {run.folder}"]
    lines += [
        f"{section}.{name} = {flow_yaml(value)}"
        for section, group in run.spec.changed().items()
        if isinstance(group, dict)
        for name, value in group.items()
    ]
    if run.scores():
        lines.append(scores_table([run]))
    answer(args, facts, "\n".join(lines))


def logs(args: argparse.Namespace) -> None:
    run = run_of(args)
    text = run.log.read_text(errors="replace") if run.log.exists() else ""
    answer(args, {"run": run.id, "log": text}, text.rstrip("\n"))


def cancel(args: argparse.Namespace) -> None:
    from engine.launch import api

    run = run_of(args)
    api.cancel(run, now=args.now)
    answer(args, {"run": run.id, "state": run.status().state}, f"{run.id} will stop after the current step")


def resume(args: argparse.Namespace) -> None:
    from engine.launch import api

    run = api.resume(run_of(args))
    answer(args, {"run": run.id, "state": run.status().state}, f"{run.id} continues from its last checkpoint")


def scores(args: argparse.Namespace) -> None:
    runs = [store_of(args).run(name) for name in args.run]
    for run in runs:
        refresh(args, run)
        status = run.status()
        if status.state is RunState.DAMAGED:
            raise RequestError(f"run {run.id} is damaged", hint=status.reason)
        if run.scores() is None:
            raise RequestError(
                f"run {run.id} has no scores yet, it is {status.state}", action="wait for its end, or resume it"
            )
    form = "csv" if args.csv else "latex" if args.latex else "text"
    answer(args, {run.id: run.scores() for run in runs}, scores_table(runs, form))


def verify(args: argparse.Namespace) -> None:
    from engine.data.netcdf import open_netcdf
    from engine.evaluation import exceedance, lead_times, stations
    from engine.evaluation.products import open_products
    from engine.evaluation.verification import summary, to_text, write_verification

    runs = [store_of(args).run(name) for name in args.run]
    for run in runs:
        if not run.results.exists():
            raise RequestError(f"run {run.id} has no results yet", action="wait for its end, or resume it")
    at_stations = _at_stations(args, runs)
    facts: dict[str, Mapping[str, object]] = {}
    texts = []
    for run in runs:
        for note in () if run.baselines.is_file() else _fit_baselines(run):
            sys.stderr.write(f"note: {run.id}: {note}\n")
        with open_products(run.results) as results:
            events = exceedance.exceedance(results, sorted(set(args.threshold))) if args.threshold else None
        write_verification(run.results, run.verification)
        if run.done_file.exists():
            run.write_manifest(run.verification)
        with open_netcdf(run.verification) as verification:
            facts[run.id] = summary(verification)
            lines = [f"{run.title} ({run.id})", to_text(verification), _significance_text(verification)]
            if "lead" in verification:
                facts[run.id] = {**facts[run.id], "lead_times": lead_times.summary(verification)}
                lines.append(lead_times.to_text(verification))
        if events is not None:
            facts[run.id] = {**facts[run.id], "exceedance": exceedance.summary(events)}
            lines.append(exceedance.to_text(events))
        if run.id in at_stations:
            facts[run.id] = {**facts[run.id], "stations": stations.summary(at_stations[run.id])}
            lines += [stations.to_text(at_stations[run.id]), f"wrote {run.stations}"]
        texts.append("\n".join([*lines, f"wrote {run.verification}"]))
    answer(args, facts, "\n\n".join(texts))


def _fit_baselines(run: Run) -> tuple[str, ...]:
    """Fit the baselines that a run lacks, from its data; returns notes: what was done, or why there are none."""
    if not run.normalizer_file.is_file():
        return (f"no baselines can be fitted without {run.normalizer_file.name}",)
    with quiet_import():
        from engine.late_baselines import fit_late_baselines
    try:
        notes = fit_late_baselines(run)
    except (MesoscopeError, OSError) as error:
        return (f"no baselines could be fitted, as its data can't be used: {error}",)
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


def report(args: argparse.Namespace) -> None:
    from engine.report import crate_of, report_of

    runs = [store_of(args).run(name) for name in args.run]
    crate = args.output.with_name("ro-crate-metadata.json") if args.crate else None
    output, *beside = (
        checked_output(path, (str(run.results) for run in runs), overwrite=args.overwrite)
        for path in (args.output, crate)
        if path
    )
    content = report_of(runs)
    write_whole(output, content)
    for path in beside:
        write_whole(path, to_json(crate_of(runs, output.name, content)))
    wrote = [str(path) for path in (args.output, crate) if path]
    facts = {"runs": [run.id for run in runs], "output": wrote[0], **({"crate": wrote[1]} if crate else {})}
    answer(args, facts, f"wrote {' and '.join(wrote)}")


def downscale(args: argparse.Namespace) -> None:
    run = run_of(args)
    output = checked_output(args.output, Source(args.input).files(), overwrite=args.overwrite)
    with quiet_import():
        from engine.run import Destination, downscale, downscale_to
    if args.scale is None and args.grid is None and args.points is None:
        notes = downscale(run, args.input, output, args.variable)
    else:
        destination = Destination(args.scale, args.grid, args.points)
        notes = downscale_to(run, args.input, output, destination, args.variable)
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    answer(args, {"run": run.id, "output": str(args.output), "notes": notes}, f"wrote {args.output}")


def _row(run: Run) -> dict[str, str]:
    """Return the columns of `runs`, which `show` begins with."""
    status = run.status()
    latest = {} if status.state is RunState.DAMAGED else run.latest()
    epoch = f"{latest['epoch']}/{latest.get('epochs', '?')}" if latest else ""
    return {"run": run.id, "title": run.title, "state": status.state, "reason": status.reason, "epoch": epoch}
