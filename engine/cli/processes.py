"""Commands that launchers start; users don't need them."""

from __future__ import annotations

import argparse
import os

from engine.runs import Run
from engine.tensorflow_import import quiet_import


def work(args: argparse.Namespace) -> None:
    """Train, as one rank."""
    from engine.launch.priority import share_with_session

    share_with_session()
    with quiet_import():
        from engine.run import work
    work(Run(args.folder))


def rank(args: argparse.Namespace) -> None:
    """Train, as one rank that is a task of a Slurm step."""
    from engine.launch.ranks.command import in_step

    os.environ |= in_step(os.environ)
    work(args)


def hosts(args: argparse.Namespace) -> int:
    """Start the ranks of all hosts over SSH."""
    from engine.launch.ranks.ssh_ranks import start_hosts

    return start_hosts(Run(args.folder))


def host(args: argparse.Namespace) -> int:
    """Start the ranks of this host."""
    from engine.launch.ranks.ssh_ranks import start_ranks

    return start_ranks(Run(args.folder))


def supervise(args: argparse.Namespace) -> int:
    """Start the ranks of a run, and record its end."""
    from engine.launch.supervision.supervisor import supervise

    return supervise(Run(args.folder), args.token)


def conduct(args: argparse.Namespace) -> None:
    """Train the runs of a suite one after another."""
    from engine import suite

    suite.conduct([Run(folder) for folder in args.folder])
