"""The command `targets`: the sites where runs can be executed."""

from __future__ import annotations

import argparse
import sys

from engine.cli.output import answer
from engine.errors import RequestError


def targets(args: argparse.Namespace) -> int:
    return _list(args) if args.action == "list" else _check(args)


def _list(args: argparse.Namespace) -> int:
    from engine.launch.sites import Sites, targets_file

    sites = Sites.read().all
    rows = [{"name": site.name, **site.plain()} for site in sites]
    text = "\n".join(f"{site.name:<20} {site.kind:<6} {site.host or 'this machine'}" for site in sites)
    answer(args, {"file": str(targets_file() or ""), "targets": rows}, text)
    return 0


def _check(args: argparse.Namespace) -> int:
    from engine.launch.site_check import check
    from engine.launch.sites import Sites

    sites = Sites.read()
    if not args.name:
        raise RequestError("targets check needs a name", hint=", ".join(sites.names))
    steps = []
    for step in check(sites.named(args.name)):
        steps.append(step)
        if not args.json:
            fix = f"; to fix it: {step.remedy}" if step.remedy else ""
            sys.stdout.write(f"{'✓' if step.works else '✗'} {step.name}: {step.found}{fix}\n")
    answer(args, {"target": args.name, "steps": [step.plain() for step in steps]}, "")
    return 0 if steps[-1].works else 1
