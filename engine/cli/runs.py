"""Commands on runs of the store: runs, show, logs, cancel, resume, scores, report, downscale."""

from __future__ import annotations

import argparse
import sys

from engine.cli.inputs import refresh, run_of, store_of
from engine.cli.output import answer, scores_table
from engine.cli.output_file import checked_output
from engine.errors import RequestError
from engine.files import to_json, write_whole
from engine.runs import Run, RunState
from engine.spec import Source, flow_yaml
from engine.tensorflow_import import quiet_import


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


def report(args: argparse.Namespace) -> None:
    from engine.animation import possible_endings, write_animation
    from engine.report import crate_of, report_of

    runs = [store_of(args).run(name) for name in args.run]
    names = ["ro-crate-metadata.json"] if args.crate else []
    endings = possible_endings() if args.animation else []
    paths = [args.output.with_name(name) for name in names] + [args.output.with_suffix(ending) for ending in endings]
    inputs = [str(run.results) for run in runs]
    output, *beside = (checked_output(path, inputs, overwrite=args.overwrite) for path in (args.output, *paths))
    content = report_of(runs, args.threshold)
    write_whole(output, content)
    for path in beside[: len(names)]:
        write_whole(path, to_json(crate_of(runs, output.name, content)))
    for path in beside[len(names) :]:
        write_animation(runs, path)
    wrote = [str(args.output), *map(str, paths)]
    facts: dict[str, object] = {"runs": [run.id for run in runs], "output": wrote[0]}
    facts |= {"crate": wrote[1]} if args.crate else {}
    facts |= {"animation": wrote[1 + len(names) :]} if args.animation else {}
    answer(args, facts, f"wrote {' and '.join(wrote)}")


def downscale(args: argparse.Namespace) -> None:
    run = run_of(args)
    output = checked_output(args.output, Source(args.input).files(), overwrite=args.overwrite)
    with quiet_import():
        from engine.downscale import Destination, downscale, downscale_to
    stations = Source(args.stations, args.station_variable) if args.stations else None
    if args.scale is None and args.grid is None and args.points is None:
        notes = downscale(run, args.input, output, args.variable, stations)
    else:
        destination = Destination(args.scale, args.grid, args.points)
        notes = downscale_to(run, args.input, output, destination, args.variable, stations)
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    answer(args, {"run": run.id, "output": str(args.output), "notes": notes}, f"wrote {args.output}")


def _row(run: Run) -> dict[str, str]:
    """Return the columns of `runs`, which `show` begins with."""
    status = run.status()
    latest = {} if status.state is RunState.DAMAGED else run.latest()
    epoch = f"{latest['epoch']}/{latest.get('epochs', '?')}" if latest else ""
    return {"run": run.id, "title": run.title, "state": status.state, "reason": status.reason, "epoch": epoch}
