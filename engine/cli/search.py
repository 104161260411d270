"""The command `search`: options of least validation RMSE within a budget of time."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.inputs import check_for_site, checked_spec, refresh, store_of
from engine.cli.output import answer, report
from engine.cli.output_file import make_output_folder
from engine.cli.progress import format_duration
from engine.errors import RequestError
from engine.files import to_json, write_whole
from engine.spec import Spec

if TYPE_CHECKING:
    import optuna

    from engine.launch.searches import Trial


def search(args: argparse.Namespace) -> int:
    """Run trials until the time is over, then write the best spec; an interrupt ends the search, and keeps it."""
    from engine import search

    spec, store = checked_spec(args), store_of(args)
    space = search.parse_space(args.search or [f"{option}={text}" for option, text in search.SPACE.items()])
    if not args.minutes > 0:
        raise RequestError(f"--minutes is {args.minutes:g}", hint="expected more than 0")
    make_output_folder(args.output)
    study, stop = search.open_study(args.output / "journal.jsonl", spec, space), args.output / "stop"
    write = partial(_write, args.output, spec, study)
    write("")
    try:
        end = search.search(
            study,
            spec,
            space,
            store,
            search.Budget.of(args.minutes, args.trials, stop.exists),
            name=args.output.resolve().name,
            check=lambda changed: check_for_site(changed, store),
            refresh=partial(refresh, args),
            report=partial(report, args),
            ended=lambda: write(""),
        )
    except KeyboardInterrupt:
        end = "interrupted"
        report(args, "ended: the same command goes on from here")
    facts = write(end)
    stop.unlink(missing_ok=True)
    last = f"\nbest spec: {facts['best']}" if facts["best"] else "\nno trial is complete"
    answer(args, facts, _table(search.trials_of(study), last))
    return 0 if facts["best"] else 1


def _write(folder: Path, spec: Spec, study: optuna.Study, end: str) -> dict[str, Any]:
    """Write trials.json, and best.yaml once a trial is complete; returns what trials.json holds.

    end : why the search ended; '' before.
    """
    from engine import search

    trials = search.trials_of(study)
    best, choice = next((t for t in trials if t.state == "complete"), None), search.pareto(trials)
    if best is not None:
        write_whole(folder / "best.yaml", search.with_options(spec, best.settings).to_yaml())
    facts = {
        "trials": [asdict(trial) | {"pareto": trial.number in choice} for trial in trials],
        "best": str(folder / "best.yaml") if best else None,
        "end": end,
    }
    write_whole(folder / "trials.json", to_json(facts))
    return facts


def _table(trials: list[Trial], last: str) -> str:
    from engine.evaluation.tables import aligned
    from engine.search import pareto

    if not trials:
        return "no trial was begun"
    choice = pareto(trials)
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
