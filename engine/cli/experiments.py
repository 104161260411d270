"""Commands on a spec: demo, check, train, submit, update."""

from __future__ import annotations

import argparse
import sys

from engine.cli.inputs import check_for_site, checked_spec, run_of, spec_of, store_of, summary_of
from engine.cli.output import answer, scores_table
from engine.cli.progress import follow
from engine.runs import Run, RunState
from engine.spec import Spec


def demo(args: argparse.Namespace) -> None:
    from engine.data.demo import write_demo

    paths = write_demo(args.folder, seed=args.seed)
    answer(args, {"files": [str(path) for path in paths]}, "\n".join(f"wrote {path}" for path in paths))


def check(args: argparse.Namespace) -> None:
    summary = summary_of(spec_of(args), store_of(args))
    answer(args, summary.plain(), summary.text())


def train(args: argparse.Namespace) -> int:
    """Start a run, show its progress until it ends, and its scores."""
    run, facts = _train(args, checked_spec(args))
    is_done = facts["state"] is RunState.DONE
    answer(args, facts, scores_table([run]) if is_done else "")
    return 0 if is_done else 1


def update(args: argparse.Namespace) -> int:
    """Train a run further with new time steps, and show RMSE of old and new test steps before and after."""
    from engine.evaluation.tables import aligned
    from engine.update import rmse_by_part, updated_spec

    updated = updated_spec(run_of(args), args.target, args.lr or (), args.predictor or ())
    spec = Spec.from_yaml(updated.to_yaml(), settings=args.set)
    for note in check_for_site(spec, store_of(args)):
        sys.stderr.write(f"note: {note}\n")
    run, facts = _train(args, spec)
    if facts["state"] is not RunState.DONE:
        answer(args, facts, "")
        return 1
    by_part = rmse_by_part(run)
    columns = ("interpolated", "before", "after")
    rows = [["RMSE of test steps", *columns]]
    rows += [[part, *(f"{rmse[c]:.4g}" if c in rmse else "-" for c in columns)] for part, rmse in by_part.items()]
    answer(args, facts | {"rmse": by_part}, aligned(rows))
    return 0


def _train(args: argparse.Namespace, spec: Spec) -> tuple[Run, dict[str, object]]:
    """Start a run and follow it to its end; returns what there is to say of it."""
    from engine.launch import api

    run = api.submit(spec, store_of(args))
    follow(args, run)
    status = run.status()
    if status.state is not RunState.DONE:
        sys.stderr.write(f"run {run.id} {status.state}: {status.reason}\n")
    facts = {"folder": str(run.folder), "state": status.state, "reason": status.reason, "scores": run.scores()}
    return run, {"run": run.id, **facts}


def submit(args: argparse.Namespace) -> None:
    from engine.launch import api

    run = api.submit(checked_spec(args), store_of(args))
    answer(args, {"run": run.id, "folder": str(run.folder)}, f"submitted {run.id}")
