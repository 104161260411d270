"""A run followed in the terminal until it ends."""

from __future__ import annotations

import argparse
import contextlib
import time

from engine.cli.inputs import refresh
from engine.cli.output import report
from engine.errors import StoreError
from engine.runs import Run

POLL_INTERVAL_S = 0.2


def follow(args: argparse.Namespace, run: Run) -> int:
    """Show a run's progress until it ends; returns the number of interrupts.

    An interrupt requests the run to stop after the current step, a second one ends its processes.
    """
    from engine.launch import api

    report(args, f"run {run.id} in {run.folder}")
    interrupts = 0
    with ProgressBar(quiet=args.json) as bar:
        while (status := run.status()).state.may_be_active:
            try:
                bar.update(run, status.reason)
                time.sleep(POLL_INTERVAL_S)
                refresh(args, run)
            except KeyboardInterrupt:
                interrupts += 1
                with contextlib.suppress(StoreError):  # it may have ended just now
                    api.cancel(run, now=interrupts > 1)
        bar.update(run, status.reason)
    return interrupts


class ProgressBar:
    """One line in the terminal: epochs, loss, validation RMSE, throughput and time left."""

    def __init__(self, quiet: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.rich = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[facts]}"),
            console=Console(stderr=True),
            disable=quiet,
        )
        self.task = self.rich.add_task("starting", total=None, facts="")
        self.val_rmse: float | None = None

    def __enter__(self) -> ProgressBar:
        self.rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rich.stop()

    def update(self, run: Run, phase: str) -> None:
        """Show the latest progress record of a run."""
        latest = run.latest()
        if not latest:
            self.rich.update(self.task, description=phase or "starting")
            return
        steps_done = (latest["epoch"] - 1) * latest["steps"] + latest["step"]
        facts = [f"epoch {latest['epoch']}/{latest['epochs']}", f"loss {latest['loss']:.4g}"]
        self.val_rmse = latest.get("val_rmse", self.val_rmse)
        if self.val_rmse is not None:
            facts.append(f"val RMSE {self.val_rmse:.4g}")
        if latest.get("samples_per_s"):
            facts.append(f"{latest['samples_per_s']:.0f} samples/s")
        if (eta_s := latest.get("eta_s")) and phase == "training":
            facts.append(f"{format_duration(eta_s)} left")
        total = latest["epochs"] * latest["steps"]
        self.rich.update(self.task, description=phase, completed=steps_done, total=total, facts="  ".join(facts))


def format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
