"""Search for the options of least validation RMSE within a budget of time: each trial is a run of the store.

Trials are proposed by the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24), and ended early by
successive halving (Li et al. 2020, MLSys 2, asynchronous form), both as in Optuna, whose journal keeps them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.errors import MesoscopeError, RequestError, SpecError, StoreError
from engine.launch import api
from engine.launch.searches import Trial
from engine.options import did_you_mean
from engine.runs import Run, RunState, Store
from engine.spec import SECTIONS, Spec, flow_yaml, with_settings

if TYPE_CHECKING:
    import optuna

POLL_INTERVAL_S = 0.5
MOST_REFUSED = 50  # trials in a row that the data don't allow
FEWEST_EPOCHS = 5  # before a trial is compared with others: the first ones say little
REDUCTION = 3  # of successive halving: a third of the trials goes on, for three times as many epochs
FIRST_EPOCH_SHARE = 1 / 4  # of the time of a search: in it a trial validates an epoch, or is ended
SPACE = {
    **{f"model.{option}": ",".join(SECTIONS["model"].param[option].objects) for option in ("backbone", "upsampling")},
    "model.n_filters": "16,32,48,64",
    "model.n_blocks": "2,3,4,6,8",
    "training.learning_rate": "3e-4:1e-2",
}


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`; by their logarithm where they span a decade, whole where both are."""

    low: float
    high: float
    is_whole: bool


Space = Mapping[str, tuple[str, ...] | Interval]  # by option: values as in YAML, or an interval
Combination = Mapping[str, str]  # of values, by option


@dataclass(frozen=True)
class Budget:
    """Limits of a search.

    until : `time.monotonic()` at which the trial that is running is ended, too.
    most_trials : trained ones, those of an earlier search with the same journal included.
    is_stopped : true once the user has stopped it.
    """

    seconds: float
    until: float
    most_trials: int
    is_stopped: Callable[[], bool]

    @classmethod
    def of(cls, minutes: float, most_trials: int, is_stopped: Callable[[], bool] = lambda: False) -> Self:
        return cls(60 * minutes, time.monotonic() + 60 * minutes, most_trials, is_stopped)

    def end(self, n_trials: int) -> str:
        """Why no trial is begun any more; '' while there is something left."""
        if self.is_stopped():
            return "stopped"
        if time.monotonic() > self.until:
            return "out of time"
        return "all trials are done" if n_trials >= self.most_trials else ""


def parse_space(words: Iterable[str]) -> Space:
    """Read `section.option=value,value` and `section.option=low:high`; raises SpecError."""
    space: dict[str, tuple[str, ...] | Interval] = {}
    for word in words:
        option, equals, text = word.partition("=")
        section, _, name = option.partition(".")
        if not equals or section not in SECTIONS or section == "launch":
            raise SpecError(f"--search {word}", hint="expected section.option=value,value or section.option=low:high")
        if name not in (known := SECTIONS[section].declared()):
            raise SpecError(f"--search {word}", hint=did_you_mean(name, known))
        low, colon, high = text.partition(":")
        values = tuple(value.strip() for value in text.split(","))
        try:
            space[option] = Interval(float(low), float(high), is_whole=(low + high).isdigit()) if colon else values
        except ValueError:
            raise SpecError(f"--search {word}", hint="expected two numbers, low:high") from None
        if isinstance(interval := space[option], Interval) and not interval.low < interval.high:
            raise SpecError(f"--search {word}", hint="expected the lower number first")
        if not all(values):
            raise SpecError(f"--search {word}", hint="a value between two commas is missing")
    return space


def open_study(journal: Path, spec: Spec, space: Space) -> optuna.Study:
    """Begin a search, or go on with the one that a journal holds.

    Raises
    ------
    RequestError
        If Optuna isn't installed, or the journal is of another spec or space.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise RequestError(
            f"a search needs Optuna ({error})", action="install it: pip install 'mesoscope[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name="search",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=spec.training.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(FEWEST_EPOCHS, spec.training.epochs // REDUCTION**2), reduction_factor=REDUCTION
        ),
    )
    subject = {"spec": spec.to_yaml(), "space": {option: str(values) for option, values in space.items()}}
    if study.user_attrs.get("subject", subject) != subject:
        raise RequestError(
            f"{journal} holds a search of another spec or of other options", action="give another --output folder"
        )
    study.set_user_attr("subject", subject)
    return study


def search(
    study: optuna.Study,
    spec: Spec,
    space: Space,
    store: Store,
    budget: Budget,
    *,
    name: str,
    check: Callable[[Spec], object],
    refresh: Callable[[Run], None],
    report: Callable[[str], None],
    ended: Callable[[], object],
) -> str:
    """Run trials one after another, the spec as it is first; those that an earlier search left running are ended.

    Parameters
    ----------
    name : begins the titles of the runs.
    check : raises RequestError for a spec that the data don't allow; refresh : polls the site of a run; ended : called
        after each trial.

    Returns
    -------
    Why it ended.

    Raises
    ------
    RequestError
        If no combination of values is allowed, or the store can't be written; LaunchError, UnreachableError.
    """
    _end_left(study, store, report)
    combinations = _allowed(spec, space, report)
    if not study.trials:
        study.enqueue_trial(_own_values(spec, space, combinations))
    refused = 0
    while not (end := budget.end(len(trials_of(study)))):
        trial = study.ask()
        settings = _suggest(trial, space, combinations)
        trial.set_user_attr("settings", settings)
        try:
            values = ", ".join(f"{option.partition('.')[2]} {value}" for option, value in settings.items())
            title = f"{name} {trial.number}: {values}"
            changed = with_options(spec, settings).replace(launch={"title": title})
            check(changed)
        except StoreError:
            raise
        except RequestError as error:
            trial.set_user_attr("refused", str(error))
            study.tell(trial, state=_state("FAIL"))
            refused += 1
            if refused == MOST_REFUSED:
                raise RequestError(
                    f"{refused} combinations in a row can't be trained, the last one because {error}",
                    action="search other values",
                ) from error
            continue
        refused = 0
        run = api.submit(changed, store)
        trial.set_user_attr("run", run.id)
        report(f"{run.title} ({run.id})")
        _follow(study, trial, run, budget, refresh)
        ended()
    return end


def with_options(spec: Spec, settings: Mapping[str, str]) -> Spec:
    """Put values as in YAML into a spec; raises SpecError."""
    return Spec.from_plain(with_settings(spec.plain(), (f"{option}={value}" for option, value in settings.items())))


def trials_of(study: optuna.Study) -> list[Trial]:
    """Trials that were trained, the best first."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if "run" in trial.user_attrs:
            attrs = trial.user_attrs
            found.append(
                Trial(
                    trial.number,
                    trial.state.name.lower(),
                    attrs["settings"],
                    attrs["run"],
                    attrs.get("reason", ""),
                    min(trial.intermediate_values.values(), default=None),
                    attrs.get("training_s"),
                )
            )
    return sorted(found, key=lambda trial: (trial.val_rmse is None, trial.val_rmse, trial.number))


def pareto(trials: Sequence[Trial]) -> set[int]:
    """Numbers of the complete trials than which none is both better and trained in less time."""
    cheapest, numbers = float("inf"), set()
    for trial in trials:  # the best first
        if trial.state == "complete" and trial.training_s is not None and trial.training_s < cheapest:
            cheapest = trial.training_s
            numbers.add(trial.number)
    return numbers


def _allowed(spec: Spec, space: Space, report: Callable[[str], None]) -> list[Combination]:
    """Combinations of the words of a space that fit together and into the spec; numbers may be combined as they are."""
    words = {option: values for option, values in space.items() if isinstance(values, tuple) and not _numeric(values)}
    allowed: list[Combination] = []
    refused: dict[tuple[str, str], SpecError] = {}
    for values in itertools.product(*words.values()):
        combination = dict(zip(words, values, strict=True))
        try:
            with_options(spec, combination)
        except SpecError as error:
            refused |= dict.fromkeys(combination.items(), error)
        else:
            allowed.append(combination)
    for (option, value), why in refused.items():
        if not any(combination[option] == value for combination in allowed):
            report(f"left out: {option}={value}, as {why}")
    if not allowed:
        why = next(iter(refused.values()))
        raise RequestError(
            f"no combination of values is allowed, the first because {why}", action="search other values"
        )
    return allowed


def _numeric(values: Iterable[str]) -> bool:
    try:
        return bool([float(value) for value in values])
    except ValueError:
        return False


def _own_values(spec: Spec, space: Space, combinations: Sequence[Combination]) -> dict[str, str | float]:
    """Values of the spec as parameters of a trial, as far as the space has them."""
    parameters: dict[str, str | float] = {}
    for option, values in space.items():
        section, _, name = option.partition(".")
        value = getattr(getattr(spec, section), name)
        if not isinstance(values, Interval):
            parameter, left = _left(option, values, combinations)
            if (text := flow_yaml(value)) in left:
                parameters[parameter] = text
                combinations = _with_value(combinations, option, text)
        elif values.low <= value <= values.high:
            parameters[option] = value
    return parameters


def _suggest(trial: optuna.Trial, space: Space, combinations: Sequence[Combination]) -> dict[str, str]:
    """Values of a trial; of each option those that fit the values before it."""
    settings: dict[str, str] = {}
    for option, values in space.items():
        if not isinstance(values, Interval):
            settings[option] = trial.suggest_categorical(*_left(option, values, combinations))
            combinations = _with_value(combinations, option, settings[option])
        elif values.is_whole:
            settings[option] = str(trial.suggest_int(option, int(values.low), int(values.high)))
        else:
            log = 0 < 10 * values.low <= values.high
            settings[option] = f"{trial.suggest_float(option, values.low, values.high, log=log):.3g}"
    return settings


def _left(option: str, values: tuple[str, ...], combinations: Sequence[Combination]) -> tuple[str, tuple[str, ...]]:
    """Name of a parameter, and its values that are in one of the combinations; each set of values has its own name."""
    left = tuple(value for value in values if _with_value(combinations, option, value))
    return option if left == values else f"{option} ({', '.join(left)})", left


def _with_value(combinations: Sequence[Combination], option: str, value: str) -> Sequence[Combination]:
    return [combination for combination in combinations if combination.get(option, value) == value]


def _follow(study: optuna.Study, trial: optuna.Trial, run: Run, budget: Budget, refresh: Callable[[Run], None]) -> None:
    """Report each validated epoch of a run; end it where it isn't worth its time, or there is none left."""
    offset, reason, begun = 0, "", time.monotonic()
    try:
        while (status := run.status()).state.may_be_active:
            offset = _report(trial, run, offset)
            if not reason and (reason := _reason_to_end(study, trial, run, budget, begun)):
                _cancel(run)
            time.sleep(POLL_INTERVAL_S)
            refresh(run)
    except KeyboardInterrupt:
        _cancel(run)
        study.tell(trial, state=_state("FAIL"))
        raise
    _report(trial, run, offset)
    if latest := run.latest():
        trial.set_user_attr("training_s", latest.get("elapsed_s"))
    trial.set_user_attr("reason", reason or status.reason)
    values = _values(study, trial)
    if status.state is RunState.DONE and values:
        study.tell(trial, min(values))
    else:
        study.tell(trial, state=_state("PRUNED" if reason and values else "FAIL"))


def _reason_to_end(study: optuna.Study, trial: optuna.Trial, run: Run, budget: Budget, begun: float) -> str:
    """Why a trial is ended early; '' if it goes on."""
    if end := budget.end(0):
        return end
    now, training = time.monotonic(), run.spec.training
    if not _values(study, trial):
        is_slow = now - begun > FIRST_EPOCH_SHARE * budget.seconds
        return "too slow: no epoch in a quarter of the time of the search" if is_slow else ""
    may_stop_early = training.early_stopping and training.patience < training.epochs
    if (run.latest().get("eta_s") or 0.0) > (2 if may_stop_early else 1) * (budget.until - now):
        return "too slow: its training would take longer than the time that is left"
    return "successive halving" if trial.should_prune() else ""


def _report(trial: optuna.Trial, run: Run, offset: int) -> int:
    """Report the epochs from an offset of progress.jsonl on; returns the next one."""
    records, offset = run.progress(offset)
    for record in records:
        if (val_rmse := record.get("val_rmse")) is not None:
            trial.report(val_rmse, record["epoch"])
    return offset


def _values(study: optuna.Study, trial: optuna.Trial) -> list[float]:
    return list(study.get_trials(deepcopy=False)[trial.number].intermediate_values.values())


def _cancel(run: Run) -> None:
    """End a run: after its step, with a checkpoint, or at once if it has not begun to train."""
    with suppress(StoreError):  # it ended just now
        api.cancel(run, now=not run.latest())


def _end_left(study: optuna.Study, store: Store, report: Callable[[str], None]) -> None:
    """End what a search that was killed left running; a run on a site that can't be reached goes on, with a warning."""
    for trial in study.get_trials(deepcopy=False, states=[_state("RUNNING")]):
        run = Run(store.folder / trial.user_attrs["run"]) if "run" in trial.user_attrs else None
        if run is not None and run.folder.is_dir():  # else it was not started yet, or is deleted
            try:
                _cancel(run)
            except MesoscopeError as error:
                report(f"{run.id} of an earlier search may still be running: {error}")
        study.tell(trial.number, state=_state("FAIL"))


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
