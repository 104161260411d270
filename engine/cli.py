"""The command line: everything that the dashboard does, without it.

Exit codes: 0 done; 2 the request is wrong; 1 the run failed. With --json, standard output holds one JSON document.
Heavy imports stand in the commands that need them, so that the others answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import MesoscopeError, RequestError, StoreError
from engine.files import to_json
from engine.options import Options, did_you_mean
from engine.runs import Run, Store, default_store, describe_error
from engine.spec import SECTIONS, Spec, flow_yaml
from engine.tensorflow_import import quiet_import

FOLLOW_S = 0.2
COMMANDS = (
    "demo", "check", "train", "submit", "suite", "runs", "show", "logs", "cancel", "resume", "scores", "downscale",
    "targets",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    given = argparse.Namespace(json="--json" in words)
    try:
        given = parser().parse_args(words)
        return given.command(given) or 0
    except MesoscopeError as error:
        return _refuse(given, str(error), 2 if isinstance(error, RequestError) else 1)
    except KeyboardInterrupt:
        return _refuse(given, "interrupted", 130)
    except OSError as error:
        return _refuse(given, describe_error(error), 1)


class _Parser(argparse.ArgumentParser):
    """Refuses as the rest of the engine does."""

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"argument COMMAND: invalid choice: '(.*?)'", message):
            raise RequestError(f"{wrong[1]} is not a command: {did_you_mean(wrong[1], COMMANDS)}")
        raise RequestError(f"{message}; expected {' '.join(self.format_usage().removeprefix('usage: ').split())}")


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = _Parser(prog="python -m engine", description="Train networks that downscale gridded data.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    json_flag = _Parser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    stored = _Parser(add_help=False, parents=[json_flag])
    stored.add_argument("--store", type=Path, help="folder of runs (default: $MESOSCOPE_STORE, else in your home)")
    options = _Parser(add_help=False)
    options.add_argument("--set", action="append", default=[], metavar="section.option=value", help="change an option")

    def command(name: str, action: Callable[[Any], int | None], help: str, *parents: _Parser) -> Any:
        sub = commands.add_parser(
            name,
            help=help,
            description=help,
            parents=parents,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=option_help() if options in parents else None,
        )
        sub.set_defaults(command=action)
        return sub

    demo = command("demo", _demo, "write the synthetic demonstration data set", json_flag)
    demo.add_argument("folder", type=Path)
    demo.add_argument("--seed", type=int, default=0)
    check = command("check", _check, "validate a spec; show grids, samples, parameters, memory", options, stored)
    check.add_argument("spec", help="a YAML file, or - for standard input")
    train = command("train", _train, "train in the foreground, with a progress bar", options, stored)
    train.add_argument("spec", type=Path)
    train.add_argument("--processes", type=int, help="Horovod processes (same as --set launch.processes=N)")
    submit = command("submit", _submit, "hand a run over to a target and return", options, stored)
    submit.add_argument("spec", type=Path)
    submit.add_argument("--target", default=None, help="where to run (same as --set launch.site=NAME)")
    suite = command("suite", _suite, "train the eight models of the DL4DS paper, and compare them", options, stored)
    suite.add_argument("spec", type=Path, nargs="?", help="names the data (default: demonstration data)")
    suite.add_argument("--models", default="ABCDEFGH", help="letters of those to train (default: all eight)")
    suite.add_argument("--output", type=Path, default=Path("suite"), help="folder for table and maps (default: suite)")
    command("runs", _runs, "list the runs of the store, the newest first", stored)
    for name, action, help in (
        ("show", _show, "a run's state, options and scores"),
        ("logs", _logs, "a run's log"),
        ("cancel", _cancel, "stop a run after the step it is in, keeping what it has"),
        ("resume", _resume, "continue a run from its last checkpoint"),
    ):
        command(name, action, help, stored).add_argument("run", help="a run's id, or its beginning, or its title")
    commands.choices["cancel"].add_argument("--now", action="store_true", help="end its processes at once")
    scores = command("scores", _scores, "compare the scores of runs", stored)
    scores.add_argument("run", nargs="+")
    scores.add_argument("--csv", action="store_true")
    scores.add_argument("--latex", action="store_true")
    downscale = command("downscale", _downscale, "apply a trained model to new data", stored)
    downscale.add_argument("run")
    downscale.add_argument(
        "input", help="file, glob or store with the LR field (and predictors) by the names of the spec"
    )
    downscale.add_argument("output", type=Path, help="NetCDF file to write")
    targets = command("targets", _targets, "list the places to run, or check one step by step", json_flag)
    targets.add_argument("action", nargs="?", choices=("list", "check"), default="list")
    targets.add_argument("name", nargs="?", help="the target to check")
    inner_commands = {
        "work": _work, "rank": _rank, "hosts": _hosts, "host": _host, "supervise": _supervise, "conduct": _conduct,
    }  # fmt: skip
    for name, start in inner_commands.items():  # what launchers start
        inner = commands.add_parser(name)
        inner.add_argument("folder", type=Path, nargs="+" if name == "conduct" else None)
        inner.set_defaults(command=start)
    commands.choices["supervise"].add_argument("--token", default="")
    return top


def option_help() -> str:
    """Every option as the spec declares it."""
    lines = ["options of a spec (section.option, default, what is expected):"]
    for section, kind in SECTIONS.items():
        lines += [
            f"  {section}.{name} = {flow_yaml(_default(kind, name))}\n      {option.doc} Expected: {option.expected()}."
            for name, option in kind.declared().items()
        ]
    return "\n".join(lines)


def _default(kind: type[Options], name: str) -> Any:
    from engine.options import to_plain

    return to_plain(kind.declared()[name].default)


def _demo(given: argparse.Namespace) -> None:
    from engine.data.demo import write_demo

    paths = write_demo(given.folder, seed=given.seed)
    _answer(given, {"files": [str(path) for path in paths]}, "\n".join(f"wrote {path}" for path in paths))


def _check(given: argparse.Namespace) -> None:
    from engine.check import summarize

    summary = summarize(_spec(given), _store(given))
    _answer(given, summary.plain(), summary.text())


def _train(given: argparse.Namespace) -> int:
    from engine.launch import api

    return _follow(given, api.submit(_checked(given), _store(given)))


def _submit(given: argparse.Namespace) -> None:
    from engine.launch import api

    run = api.submit(_checked(given), _store(given))
    _answer(given, {"run": run.id, "folder": str(run.folder)}, f"submitted {run.id}")


def _suite(given: argparse.Namespace) -> int:
    from engine import suite
    from engine.launch import api

    try:
        given.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{given.output} can't be made ({error.strerror}): give another --output folder") from None
    own = Spec.read(given.spec or _demo_spec(given.output / "demo"))
    specs = suite.specs(own, given.models.upper(), given.set)
    for spec in specs:
        _check_data(spec, _store(given))
    runs = suite.create(specs, _store(given))
    for run in runs:
        if run.remote:  # a target has a queue of its own
            api.start(run)
    for number, run in enumerate(runs):
        if not run.remote:
            api.start(run)
        if _watch(given, run):
            for other in runs[number + 1 :]:
                api.cancel(other)
            break
    done = [run for run in runs if run.state().word == "done"]
    for run in runs:
        if run not in done:
            sys.stderr.write(f"{run.title} {run.state().word}: {run.state().reason}\n")
    files = _export(done, given.output) if done else []
    facts = {"runs": {run.title: run.id for run in runs}, "scores": {run.id: run.scores() for run in done}}
    _answer(given, {**facts, "files": [str(path) for path in files]}, _scores_of(done) if done else "")
    return 0 if len(done) == len(runs) else 1


def _demo_spec(folder: Path) -> Path:
    from engine.data.demo import write_demo

    spec = folder / "demo_mos.yaml"
    if not spec.exists():
        write_demo(folder)
    return spec


def _export(runs: list[Run], folder: Path) -> list[Path]:
    """The table as text, CSV and LaTeX, and the maps."""
    from engine.data.netcdf import open_netcdf
    from engine.evaluation.figure import draw_fields, draw_rmse, highest_contrast_step

    files = {"csv": folder / "scores.csv", "latex": folder / "scores.tex", "text": folder / "scores.txt"}
    for form, path in files.items():
        path.write_text(_scores_of(runs, form) + "\n", encoding="utf-8")
    maps, rmse = folder / "maps.png", folder / "rmse.png"
    with contextlib.ExitStack() as stack:
        results = {run.title: stack.enter_context(open_netcdf(run.results, decode_coords="all")) for run in runs}
        draw_fields(results, highest_contrast_step(next(iter(results.values()))), maps)
        draw_rmse(results, rmse)
    return [*files.values(), maps, rmse]


def _conduct(given: argparse.Namespace) -> int:
    from engine import suite

    suite.conduct([Run(folder) for folder in given.folder])
    return 0


def _targets(given: argparse.Namespace) -> int:
    from engine.launch.site_check import check
    from engine.launch.sites import Sites, targets_file

    targets = Sites.read()
    if given.action == "list":
        rows = [{"name": target.name, **target.plain()} for target in targets.all]
        text = "\n".join(
            f"{target.name:<20} {target.kind:<6} {target.host or 'this machine'}" for target in targets.all
        )
        _answer(given, {"file": str(targets_file() or ""), "targets": rows}, text)
        return 0
    if not given.name:
        raise RequestError(f"targets check needs a name: {', '.join(targets.names)}")
    steps = []
    for step in check(targets.named(given.name)):
        steps.append(step)
        if not given.json:
            mend = f"; to mend it: {step.mend}" if step.mend else ""
            sys.stdout.write(f"{'✓' if step.works else '✗'} {step.name}: {step.found}{mend}\n")
    _answer(given, {"target": given.name, "steps": [step.plain() for step in steps]}, "")
    return 0 if steps[-1].works else 1


def _refresh(given: argparse.Namespace, run: Run | None = None) -> None:
    """What runs on targets are doing now, or one of them; what can't be asked shows in their states."""
    from engine.launch.remote.poll import refresh

    if run is None or run.remote:
        refresh(_store(given), lambda line: _tell(given, line), name=run.request["target"] if run else "")


def _tell(given: argparse.Namespace, line: str) -> None:
    if not given.json:
        sys.stderr.write(f"{line}\n")


def _runs(given: argparse.Namespace) -> None:
    _refresh(given)
    rows = [_row(run) for run in _store(given).runs()]
    text = "\n".join(f"{row['run']:<64} {row['state']:<10} {row['epoch']:>9} {row['title']}" for row in rows)
    _answer(given, {"runs": rows}, text or f"no runs in {_store(given).folder}")


def _show(given: argparse.Namespace) -> None:
    run = _run(given)
    facts = {
        **_row(run),
        "folder": str(run.folder),
        "latest": run.latest(),
        "scores": run.scores(),
        "spec": run.spec.plain(),
    }
    lines = [f"{run.id}: {facts['state']}{' (' + facts['reason'] + ')' if facts['reason'] else ''}", f"in {run.folder}"]
    lines += [
        f"{section}.{name} = {flow_yaml(value)}"
        for section, group in run.spec.changed().items()
        if isinstance(group, dict)
        for name, value in group.items()
    ]
    if facts["scores"]:
        lines.append(_scores_of([run]))
    _answer(given, facts, "\n".join(lines))


def _logs(given: argparse.Namespace) -> None:
    run = _run(given)
    text = run.log.read_text(errors="replace") if run.log.exists() else ""
    _answer(given, {"run": run.id, "log": text}, text.rstrip("\n"))


def _cancel(given: argparse.Namespace) -> None:
    from engine.launch import api

    run = _run(given)
    api.cancel(run, now=given.now)
    _answer(given, {"run": run.id, "state": run.state().word}, f"{run.id} will stop after the step it is in")


def _resume(given: argparse.Namespace) -> None:
    from engine.launch import api

    run = api.resume(_run(given))
    _answer(given, {"run": run.id, "state": run.state().word}, f"{run.id} goes on from its last checkpoint")


def _scores(given: argparse.Namespace) -> None:
    runs = [_store(given).run(name) for name in given.run]
    for run in runs:
        _refresh(given, run)
        if run.scores() is None:
            raise RequestError(
                f"run {run.id} has no scores yet, it is {run.state().word}: wait for its end, or resume it"
            )
    form = "csv" if given.csv else "latex" if given.latex else "text"
    _answer(given, {run.id: run.scores() for run in runs}, _scores_of(runs, form))


def _downscale(given: argparse.Namespace) -> None:
    run = _run(given)
    if not given.output.absolute().parent.is_dir():
        raise RequestError(f"{given.output.absolute().parent} is no folder: give a file in a folder that exists")
    with quiet_import():
        from engine.run import downscale
    notes = downscale(run, given.input, given.output)
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    _answer(given, {"run": run.id, "output": str(given.output), "notes": notes}, f"wrote {given.output}")


def _work(given: argparse.Namespace) -> int:
    with quiet_import():
        from engine.run import work
    work(Run(given.folder))
    return 0


def _rank(given: argparse.Namespace) -> int:
    """`work`, as a task of a Slurm step."""
    from engine.launch.ranks.command import in_step

    os.environ |= in_step(os.environ)
    return _work(given)


def _hosts(given: argparse.Namespace) -> int:
    from engine.launch.ranks.ssh_ranks import start_hosts

    return start_hosts(Run(given.folder))


def _host(given: argparse.Namespace) -> int:
    from engine.launch.ranks.ssh_ranks import start_ranks

    return start_ranks(Run(given.folder))


def _supervise(given: argparse.Namespace) -> int:
    from engine.launch.supervision.supervisor import supervise

    return supervise(Run(given.folder), given.token)


def _spec(given: argparse.Namespace) -> Spec:
    settings = list(given.set)
    if getattr(given, "processes", None) is not None:
        settings.append(f"launch.processes={given.processes}")
    if getattr(given, "target", None) is not None:
        settings.append(f"launch.site={given.target}")
    if str(given.spec) == "-":
        return Spec.from_yaml(sys.stdin.read(), Path.cwd(), settings)
    return Spec.read(Path(given.spec), settings)


def _checked(given: argparse.Namespace) -> Spec:
    """The spec, once the data have been found to fit it; a target that has them itself looks at them there."""

    spec = _spec(given)
    from engine.launch.sites import Sites

    if Sites.read().named(spec.launch.site).remote and not spec.launch.upload:
        return spec
    for note in _check_data(spec, _store(given)):
        sys.stderr.write(f"note: {note}\n")
    return spec


def _check_data(spec: Spec, store: Store) -> list[str]:
    """Notes on the data of a spec; raises what `summarize` and `check_training_part` raise."""
    from engine.check import check_training_part, summarize

    notes = summarize(spec, store).notes
    check_training_part(spec)
    return notes


def _store(given: argparse.Namespace) -> Store:
    return Store((given.store or default_store()).absolute())


def _run(given: argparse.Namespace) -> Run:
    run = _store(given).run(given.run)
    _refresh(given, run)
    return run


def _row(run: Run) -> dict[str, Any]:
    state, latest = run.state(), run.latest()
    epoch = f"{latest['epoch']}/{latest['epochs']}" if latest else ""
    return {"run": run.id, "title": run.title, "state": state.word, "reason": state.reason, "epoch": epoch}


def _follow(given: argparse.Namespace, run: Run) -> int:
    """Show a run's progress until it ends, and its scores."""
    _watch(given, run)
    return _tell_end(given, run)


def _watch(given: argparse.Namespace, run: Run) -> int:
    """Show a run's progress until it ends; an interrupt asks it to stop, a second one ends it; returns their number."""
    from engine.launch import api

    if not given.json:
        sys.stderr.write(f"run {run.id} in {run.folder}\n")
    interrupted = 0
    bar = _Bar(quiet=given.json)
    with bar:
        while (state := run.state()).active or state.word == "unknown":
            try:
                bar.update(run, state.reason)
                time.sleep(FOLLOW_S)
                _refresh(given, run)
            except KeyboardInterrupt:
                interrupted += 1
                with contextlib.suppress(StoreError):  # it may have ended just now
                    api.cancel(run, now=interrupted > 1)
        bar.update(run, state.reason)
    return interrupted


def _tell_end(given: argparse.Namespace, run: Run) -> int:
    state = run.state()
    if state.word != "done":
        sys.stderr.write(f"run {run.id} {state.word}: {state.reason}\n")
    facts = {
        "run": run.id,
        "folder": str(run.folder),
        "state": state.word,
        "reason": state.reason,
        "scores": run.scores(),
    }
    _answer(given, facts, _scores_of([run]) if state.word == "done" else "")
    return 0 if state.word == "done" else 1


class _Bar:
    """Progress in the terminal: one bar, loss, validation RMSE, throughput and time left."""

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

    def __enter__(self) -> None:
        self.rich.start()

    def __exit__(self, *_: object) -> None:
        self.rich.stop()

    def update(self, run: Run, phase: str) -> None:
        latest = run.latest()
        if not latest:
            self.rich.update(self.task, description=phase or "starting")
            return
        done = (latest["epoch"] - 1) * latest["steps"] + latest["step"]
        words = [f"epoch {latest['epoch']}/{latest['epochs']}", f"loss {latest['loss']:.4g}"]
        self.val_rmse = latest.get("val_rmse", self.val_rmse)
        words += [f"val RMSE {self.val_rmse:.4g}"] if self.val_rmse is not None else []
        words += [f"{latest['samples_per_s']:.0f} samples/s"] if latest.get("samples_per_s") else []
        words += [f"{_duration(latest['eta_s'])} left"] if latest.get("eta_s") and phase == "training" else []
        total = latest["epochs"] * latest["steps"]
        self.rich.update(self.task, description=phase, completed=done, total=total, facts="  ".join(words))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _scores_of(runs: list[Run], form: str = "text") -> str:
    """Each run's downscaled field, then the interpolated field of each: mean ± std over time steps."""
    from engine.evaluation import tables

    titles = [run.title for run in runs]
    names = {run.id: run.title if titles.count(run.title) == 1 else f"{run.title} ({run.id})" for run in runs}
    scores = {run.id: (run.scores() or {})["downscaled"] for run in runs}
    for run in runs:
        base = (run.scores() or {})["interpolated"]
        if base not in scores.values():
            scores[f"base {run.id}"] = base
            names[f"base {run.id}"] = f"interpolated ({run.spec.data.interpolation})"
    made = {"text": tables.to_text, "csv": tables.to_csv, "latex": tables.to_latex}[form]
    return made(scores, _told_apart(names), _unit_of(runs[0])).rstrip("\n")


def _unit_of(run: Run) -> str:
    from engine.data.netcdf import open_netcdf

    if not run.results.exists():
        return ""
    with open_netcdf(run.results) as results:
        return str(results["hr"].attrs.get("units", ""))


def _told_apart(names: dict[str, str]) -> dict[str, str]:
    """Names that stand twice get a number."""
    seen: dict[str, int] = {}
    for key, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        names[key] = name if seen[name] == 1 else f"{name} {seen[name]}"
    return names


def _answer(given: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    if given.json:
        sys.stdout.write(to_json(facts))
    elif text:
        sys.stdout.write(text + "\n")


def _refuse(given: argparse.Namespace, message: str, code: int) -> int:
    if getattr(given, "json", False):
        sys.stdout.write(to_json({"error": message}))
    sys.stderr.write(f"error: {message}\n")
    return code
