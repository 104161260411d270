"""The command `suite`: the models of the DL4DS paper, trained and compared."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from engine.cli.inputs import check_data, store_of
from engine.cli.output import answer, scores_table
from engine.cli.output_file import make_output_folder
from engine.cli.progress import follow
from engine.runs import Run, RunState, Store
from engine.spec import Spec


def suite(args: argparse.Namespace) -> int:
    runs = _create(args, store_of(args))
    _train(args, runs)
    done = [run for run in runs if run.status().state is RunState.DONE]
    for run in runs:
        if run not in done:
            sys.stderr.write(f"{run.title} {run.status().state}: {run.status().reason}\n")
    files = _export(done, args.output) if done else []
    facts = {
        "runs": {run.title: run.id for run in runs},
        "scores": {run.id: run.scores() for run in done},
        "files": [str(path) for path in files],
    }
    answer(args, facts, scores_table(done) if done else "")
    return 0 if len(done) == len(runs) else 1


def _create(args: argparse.Namespace, store: Store) -> list[Run]:
    from engine import suite

    make_output_folder(args.output)
    own = Spec.read(args.spec or _demo_spec(args.output / "demo"))
    specs = suite.specs(own, args.models.upper(), args.set)
    for spec in specs:
        check_data(spec, store)
    return suite.create(specs, store)


def _demo_spec(folder: Path) -> Path:
    from engine.data.demo import write_demo

    spec = folder / "demo_mos.yaml"
    if not spec.exists():
        write_demo(folder)
    return spec


def _train(args: argparse.Namespace, runs: list[Run]) -> None:
    """Runs on this machine one after another, those on a site at once; an interrupt cancels what hasn't ended."""
    from engine.launch import api

    for run in runs:
        if run.is_remote:  # a site has a queue of its own
            api.start(run)
    for number, run in enumerate(runs):
        if not run.is_remote:
            api.start(run)
        if follow(args, run):
            for other in runs[number + 1 :]:
                api.cancel(other)
            break


def _export(runs: list[Run], folder: Path) -> list[Path]:
    """Write the table as text, CSV and LaTeX, and the maps."""
    from engine.data.netcdf import open_netcdf
    from engine.evaluation.figure import draw_fields, draw_rmse, highest_contrast_step

    files = {"csv": folder / "scores.csv", "latex": folder / "scores.tex", "text": folder / "scores.txt"}
    for form, path in files.items():
        path.write_text(scores_table(runs, form) + "\n", encoding="utf-8")
    maps, rmse = folder / "maps.png", folder / "rmse.png"
    with contextlib.ExitStack() as stack:
        results = {run.title: stack.enter_context(open_netcdf(run.results, decode_coords="all")) for run in runs}
        draw_fields(results, highest_contrast_step(next(iter(results.values()))), maps)
        draw_rmse(results, rmse)
    return [*files.values(), maps, rmse]
