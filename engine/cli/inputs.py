"""The spec, store and run that the arguments of a command name."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.output import report
from engine.errors import RecordError, SiteError
from engine.runs import Run, Store, default_store
from engine.spec import Spec

if TYPE_CHECKING:
    from engine.check import Summary


def store_of(args: argparse.Namespace) -> Store:
    return Store((args.store or default_store()).absolute())


def run_of(args: argparse.Namespace) -> Run:
    run = store_of(args).run(args.run)
    refresh(args, run)
    return run


def refresh(args: argparse.Namespace, run: Run | None = None) -> None:
    """Poll the sites of all runs, or of one; a site that can't be reached shows in the states of its runs."""
    from engine.launch.remote.poll import refresh

    with contextlib.suppress(RecordError):  # a damaged run has no site to poll
        if run is None or run.is_remote:
            refresh(store_of(args), lambda line: report(args, line), name=run.request.target if run else "")


def spec_of(args: argparse.Namespace) -> Spec:
    settings = list(args.set)
    if getattr(args, "processes", None) is not None:
        settings.append(f"launch.processes={args.processes}")
    if getattr(args, "target", None) is not None:
        settings.append(f"launch.site={args.target}")
    if str(args.spec) == "-":
        return Spec.from_yaml(sys.stdin.read(), Path.cwd(), settings)
    return Spec.read(Path(args.spec), settings)


def checked_spec(args: argparse.Namespace) -> Spec:
    """The spec, checked against the data."""
    spec = spec_of(args)
    for note in check_for_site(spec, store_of(args)):
        sys.stderr.write(f"note: {note}\n")
    return spec


def check_for_site(spec: Spec, store: Store) -> list[str]:
    """Check the data as `check_data` does; a site that has the data itself checks them there."""
    from engine.launch.sites import Sites

    if Sites.read().named(spec.launch.site).remote and not spec.launch.upload:
        return []
    return check_data(spec, store)


def summary_of(spec: Spec, store: Store) -> Summary:
    """Summary of a spec, refused if a run of it doesn't fit into this machine; raises what `summarize` raises too."""
    from engine.check import summarize
    from engine.launch.sites import site_of

    summary = summarize(spec, store)
    try:
        site = site_of(spec.launch.site)
    except SiteError:  # submitting it reports the error
        return summary
    if not site.remote:
        site.accept_memory(spec.launch, summary.memory_bytes)
    return summary


def check_data(spec: Spec, store: Store) -> list[str]:
    """Notes on the data of a spec; raises what `summarize` and `check_training_part` raise."""
    from engine.check import check_training_part

    notes = summary_of(spec, store).notes
    check_training_part(spec)
    return notes
