"""The commands and their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from engine.cli import catalogue, experiments, processes, runs, search, sites, suite, verification
from engine.errors import RequestError
from engine.options import did_you_mean, to_plain
from engine.spec import SECTIONS, flow_yaml

Command = Callable[[argparse.Namespace], int | None]
FOR_LAUNCHERS: dict[str, Command] = {
    "work": processes.work,
    "rank": processes.rank,
    "hosts": processes.hosts,
    "host": processes.host,
    "supervise": processes.supervise,
    "conduct": processes.conduct,
}


class CommandParser(argparse.ArgumentParser):
    """Raises RequestError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}; expected {' '.join(self.format_usage().removeprefix('usage: ').split())}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.metavar == "COMMAND" and value not in (choices := action.choices or ()):
            known = [name for name in choices if name not in FOR_LAUNCHERS]
            raise RequestError(f"{value} is not a command", hint=did_you_mean(value, known))
        super()._check_value(action, value)


def make_parser() -> CommandParser:
    """The parser of the whole command line."""
    top = CommandParser(prog="python -m engine", description="Train networks that downscale gridded data.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    json_flag = CommandParser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    stored = CommandParser(add_help=False, parents=[json_flag])
    stored.add_argument("--store", type=Path, help="folder of runs (default: $MESOSCOPE_STORE, else in your home)")
    options = CommandParser(add_help=False)
    options.add_argument("--set", action="append", default=[], metavar="section.option=value", help="change an option")

    def command(name: str, run: Command, help: str, *parents: CommandParser) -> Any:
        sub = commands.add_parser(
            name,
            help=help,
            description=help,
            parents=parents,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=option_help() if options in parents else None,
        )
        sub.set_defaults(command=run)
        return sub

    demo = command("demo", experiments.demo, "write the synthetic demonstration data set", json_flag)
    demo.add_argument("folder", type=Path)
    demo.add_argument("--seed", type=int, default=0)
    check = command(
        "check", experiments.check, "validate a spec; show grids, samples, parameters, memory", options, stored
    )
    check.add_argument("spec", help="a YAML file, or - for standard input")
    train = command("train", experiments.train, "train in the foreground, with a progress bar", options, stored)
    train.add_argument("spec", type=Path)
    train.add_argument("--processes", type=int, help="Horovod processes (same as --set launch.processes=N)")
    submit = command("submit", experiments.submit, "submit a run to a site and return", options, stored)
    submit.add_argument("spec", type=Path)
    submit.add_argument("--target", help="site where it runs (same as --set launch.site=NAME)")
    update = command(
        "update", experiments.update, "train a run further with new time steps, as a run of its own", options, stored
    )
    update.add_argument("run")
    update.add_argument(
        "target", nargs="+", help="files of the target with new time steps, of the variable in the spec"
    )
    update.add_argument("--lr", nargs="+", help="new files of data.lr, if the run has it")
    update.add_argument(
        "--predictor", nargs="+", action="append", help="new files of a predictor; for each, in the order of the spec"
    )
    models = command(
        "suite", suite.suite, "train the eight models of the DL4DS paper, and compare them", options, stored
    )
    models.add_argument("spec", type=Path, nargs="?", help="names the data (default: demonstration data)")
    models.add_argument("--models", default="ABCDEFGH", help="letters of those to train (default: all eight)")
    models.add_argument("--output", type=Path, default=Path("suite"), help="folder for table and maps (default: suite)")
    searching = command(
        "search", search.search, "search for the options of least validation RMSE in a given time", options, stored
    )
    searching.add_argument("spec", type=Path)
    searching.add_argument("--minutes", type=float, default=60.0, help="time for all trials (default: 60)")
    searching.add_argument("--trials", type=int, default=1000, help="most trials (default: 1000)")
    searching.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="section.option=VALUES",
        help="an option to search: value,value or low:high; may be repeated (default: backbone, upsampling, n_filters, "
        "n_blocks and learning_rate)",
    )
    searching.add_argument(
        "--output",
        type=Path,
        default=Path("search"),
        help="folder for the journal, trials.json and best.yaml (default: search)",
    )
    command("runs", runs.list_runs, "list the runs of the store, the newest first", stored)
    for name, run, help in (
        ("show", runs.show, "show a run's state, options and scores"),
        ("logs", runs.logs, "print a run's log"),
        ("cancel", runs.cancel, "stop a run after the current step, with a checkpoint"),
        ("resume", runs.resume, "continue a run from its last checkpoint"),
    ):
        command(name, run, help, stored).add_argument("run", help="a run's id, or the start of it, or its title")
    commands.choices["cancel"].add_argument("--now", action="store_true", help="end its processes at once")
    scores = command("scores", runs.scores, "compare the scores of runs", stored)
    scores.add_argument("run", nargs="+")
    scores.add_argument("--csv", action="store_true")
    scores.add_argument("--latex", action="store_true")
    verify = command(
        "verify", verification.verify, "verify test parts by cell, season and scale; writes verification.nc", stored
    )
    verify.add_argument("run", nargs="+", help="a run's id, or the start of it, or its title")
    for form in ("--csv", "--latex"):
        verify.add_argument(
            form,
            action="store_true",
            help="print scores, exceedance, plausibility and indices of extremes in this form",
        )
    verify.add_argument("--stations", metavar="FILE", help="measurements (CSV, CF NetCDF) to score at, in stations.nc")
    verify.add_argument("--station-variable", default="", metavar="NAME", help="the one measured, if FILE has several")
    verify.add_argument("--at", choices=("nearest", "bilinear"), default="nearest", help="cells of a station (nearest)")
    verify.add_argument(
        "--height-correction",
        type=float,
        metavar="LAPSE_RATE",
        help="bring temperatures to the altitude of stations, in K per km (usual: 6.5)",
    )
    report = command("report", runs.report, "write a comparison of runs as one HTML file", stored)
    report.add_argument("run", nargs="+", help="a run's id, or the start of it, or its title")
    report.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="(default: report.html)")
    report.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    report.add_argument(
        "--animation", action="store_true", help="draw the test steps as GIF beside it, and as MP4 if ffmpeg is there"
    )
    report.add_argument("--crate", action="store_true", help="describe it in ro-crate-metadata.json beside it")
    for scored in (verify, report):
        scored.add_argument(
            "--threshold",
            type=float,
            action="append",
            default=[],
            metavar="VALUE",
            help="score values at or above it, in the unit of the target; may be repeated",
        )
    downscale = command("downscale", runs.downscale, "apply a trained model to new data", stored)
    downscale.add_argument("run")
    downscale.add_argument("input", help="file, glob or store with the LR field (and predictors), named as in the spec")
    downscale.add_argument("output", type=Path, help="NetCDF file to write")
    downscale.add_argument(
        "--variable",
        default="",
        help="name of the LR field in the input, of a vector two with a comma between (default: as in the spec)",
    )
    downscale.add_argument(
        "--stations", metavar="FILE", help="measurements at the times of the input, for a run with data.stations"
    )
    downscale.add_argument(
        "--station-variable", default="", metavar="NAME", help="the one measured, if FILE has several"
    )
    downscale.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    destination = downscale.add_mutually_exclusive_group()
    anywhere = "with a run of model.scales, LR on its own grid:"
    destination.add_argument("--scale", type=float, help=f"{anywhere} cells of its grid divided by this, as 2.5")
    destination.add_argument("--grid", type=Path, metavar="FILE", help=f"{anywhere} onto the grid of a file")
    destination.add_argument(
        "--points", type=Path, metavar="CSV", help=f"{anywhere} at points of a table with the columns lat and lon"
    )
    targets = command("targets", sites.targets, "list the sites, or check one step by step", json_flag)
    targets.add_argument("action", nargs="?", choices=("list", "check"), default="list")
    targets.add_argument("name", nargs="?", help="the site to check")
    catalog = command("catalog", catalogue.catalog, "list data sets by name, add one, check them; the cache", json_flag)
    catalog.add_argument("action", nargs="?", choices=("list", "add", "check", "cache"), default="list")
    catalog.add_argument("name", nargs="?", help="of the data set to add or to check")
    catalog.add_argument("path", nargs="?", help="to add: file, glob, Zarr store or URL")
    catalog.add_argument("--variable", default="", help="(default: the only one)")
    catalog.add_argument("--select", default="", metavar="CHOICE", help="along other dimensions, as 'level: 850'")
    catalog.add_argument("--units", default="", help="unit of a file that has none, or a wrong one")
    catalog.add_argument("--role", default="", choices=("target", "lr", "predictor", "static"))
    catalog.add_argument("--title", default="", help="(default: the file's name of the variable)")
    catalog.add_argument("--licence", default="")
    catalog.add_argument("--empty", action="store_true", help="with cache: remove all that is in it")
    for name, start in FOR_LAUNCHERS.items():
        process = commands.add_parser(name)
        process.add_argument("folder", type=Path, nargs="+" if name == "conduct" else None)
        process.set_defaults(command=start)
    commands.choices["supervise"].add_argument("--token", default="")
    return top


def option_help() -> str:
    """Every option as the spec declares it."""
    lines = ["options of a spec (section.option = default):"]
    for section, kind in SECTIONS.items():
        lines += [
            f"  {section}.{name} = {flow_yaml(to_plain(option.default))}\n"
            f"      {option.doc} Expected: {option.expected()}."
            for name, option in kind.declared().items()
        ]
    return "\n".join(lines)
