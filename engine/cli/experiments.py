"""Commands on a spec: demo, check, train, submit."""

from __future__ import annotations

import argparse
import sys

from engine.cli.inputs import checked_spec, spec_of, store_of, summary_of
from engine.cli.output import answer, scores_table
from engine.cli.progress import follow
from engine.runs import RunState


def demo(args: argparse.Namespace) -> None:
    from engine.data.demo import write_demo

    paths = write_demo(args.folder, seed=args.seed)
    answer(args, {"files": [str(path) for path in paths]}, "\n".join(f"wrote {path}" for path in paths))


def check(args: argparse.Namespace) -> None:
    summary = summary_of(spec_of(args), store_of(args))
    answer(args, summary.plain(), summary.text())


def train(args: argparse.Namespace) -> int:
    """Start a run, show its progress until it ends, and its scores."""
    from engine.launch import api

    run = api.submit(checked_spec(args), store_of(args))
    follow(args, run)
    status = run.status()
    is_done = status.state is RunState.DONE
    if not is_done:
        sys.stderr.write(f"run {run.id} {status.state}: {status.reason}\n")
    facts = {
        "run": run.id,
        "folder": str(run.folder),
        "state": status.state,
        "reason": status.reason,
        "scores": run.scores(),
    }
    answer(args, facts, scores_table([run]) if is_done else "")
    return 0 if is_done else 1


def submit(args: argparse.Namespace) -> None:
    from engine.launch import api

    run = api.submit(checked_spec(args), store_of(args))
    answer(args, {"run": run.id, "folder": str(run.folder)}, f"submitted {run.id}")
