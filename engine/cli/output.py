"""Standard output and standard error of a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from engine.files import to_json
from engine.runs import Run


def answer(args: argparse.Namespace, facts: Mapping[str, object], text: str) -> None:
    """Print the answer of a command: the facts as one JSON document with --json, else the text."""
    if args.json:
        sys.stdout.write(to_json(facts))
    elif text:
        sys.stdout.write(text + "\n")


def refuse(args: argparse.Namespace, message: str, code: int) -> int:
    """Print an error; returns the exit code."""
    if getattr(args, "json", False):
        sys.stdout.write(to_json({"error": message}))
    sys.stderr.write(f"error: {message}\n")
    return code


def report(args: argparse.Namespace, line: str) -> None:
    """Print a line on progress, which a program that reads JSON doesn't need."""
    if not args.json:
        sys.stderr.write(f"{line}\n")


def scores_table(runs: list[Run], form: str = "text") -> str:
    """Scores of each run's downscaled field, then of interpolated fields and baselines: mean ± std over time steps.

    The text describes members, and names the runs that are no better than one of these.
    """
    from engine.evaluation import tables
    from engine.evaluation.products import BASELINES
    from engine.evaluation.score_records import Scores

    titles = [run.title for run in runs]
    names = {run.id: run.title if titles.count(run.title) == 1 else f"{run.title} ({run.id})" for run in runs}
    scores = {run.id: Scores.from_plain(run.scores() or {}) for run in runs}
    table = {key: of_run.downscaled for key, of_run in scores.items()}
    for run in runs:
        simple = {f"interpolated ({run.spec.data.interpolation})": scores[run.id].interpolated}
        simple |= {BASELINES[name]: of_baseline for name, of_baseline in scores[run.id].baselines.items()}
        for name, of_product in simple.items():
            if of_product not in table.values():
                table[f"{name} {run.id}"], names[f"{name} {run.id}"] = of_product, name
    unit = _unit_of(runs[0])
    write = {"text": tables.to_text, "csv": tables.to_csv, "latex": tables.to_latex}[form]
    text = write(table, _numbered(names), unit).rstrip("\n")
    members = [f"{names[run.id]}: {line}" for run in runs if (line := tables.ensemble_text(scores[run.id], unit))]
    marks = [f"{names[run.id]} {mark}" for run in runs if (mark := tables.shortfall(scores[run.id]))]
    return "\n".join([text, *members, *marks]) if form == "text" else text


def _numbered(names: dict[str, str]) -> dict[str, str]:
    """The same names, with a number where one occurs again."""
    counts: dict[str, int] = {}
    unique = {}
    for key, name in names.items():
        counts[name] = counts.get(name, 0) + 1
        unique[key] = name if counts[name] == 1 else f"{name} {counts[name]}"
    return unique


def _unit_of(run: Run) -> str:
    from engine.data.netcdf import open_netcdf

    if not run.results.exists():
        return ""
    with open_netcdf(run.results) as results:
        return str(results["hr"].attrs.get("units", ""))
