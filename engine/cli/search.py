"""The command `search`: options of least validation RMSE within a budget of time."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from engine.cli.inputs import check_for_site, checked_spec, refresh, store_of
from engine.cli.output import answer, report
from engine.cli.output_file import make_output_folder
from engine.cli.progress import format_duration
from engine.errors import RequestError
from engine.files import write_whole

if TYPE_CHECKING:
    from engine.search import Trial


def search(args: argparse.Namespace) -> int:
    """Run trials until the time is over, then write the best spec; an interrupt ends the search, and keeps it."""
    from engine import search

    spec, store = checked_spec(args), store_of(args)
    space = search.parse_space(args.search or [f"{option}={text}" for option, text in search.SPACE.items()])
    if not args.minutes > 0:
        raise RequestError(f"--minutes is {args.minutes:g}", hint="expected more than 0")
    make_output_folder(args.output)
    study = search.open_study(args.output / "journal.jsonl", spec, space)
    try:
        search.search(
            study,
            spec,
            space,
            store,
            until=time.monotonic() + 60 * args.minutes,
            most_trials=args.trials,
            check=lambda changed: check_for_site(changed, store),
            refresh=partial(refresh, args),
            report=partial(report, args),
        )
    except KeyboardInterrupt:
        report(args, "ended: the same command goes on from here")
    trials = search.trials_of(study)
    best, choice = next((t for t in trials if t.state == "complete"), None), search.pareto(trials)
    if best is not None:
        write_whole(args.output / "best.yaml", search.with_options(spec, best.settings).to_yaml())
    facts = {
        "trials": [asdict(trial) | {"pareto": trial.number in choice} for trial in trials],
        "best": str(args.output / "best.yaml") if best else None,
    }
    answer(args, facts, _table(trials, choice, f"\nbest spec: {facts['best']}" if best else "\nno trial is complete"))
    return 0 if best else 1


def _table(trials: list[Trial], choice: set[int], last: str) -> str:
    from engine.evaluation.tables import aligned

    if not trials:
        return "no trial was begun"
    heads = ["", "trial", "val RMSE", "training", "state", *(o.partition(".")[2] for o in trials[0].settings), "run"]
    rows = [
        [
            "*" if trial.number in choice else "",
            str(trial.number),
            "–" if trial.val_rmse is None else f"{trial.val_rmse:.4g}",
            "–" if trial.training_s is None else format_duration(trial.training_s),
            trial.state,
            *trial.settings.values(),
            trial.run,
        ]
        for trial in trials
    ]
    note = "* no complete trial is both better and trained in less time"
    return "\n".join([aligned([heads, *rows]), note]) + last
