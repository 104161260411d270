"""The eight models of the DL4DS paper, A to H, trained one after another on the same pairs.

Gomez Gonzalez (2023), Environ. Data Sci. 2, e3, table 1. The specs lie in assets/specs/suite; they name the
demonstration data, and take the data of another spec in their place.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine.assets import ASSETS
from engine.errors import MesoscopeError, SpecError
from engine.launch import api, local
from engine.options import did_you_mean
from engine.runs import LaunchEvent, Run, Store
from engine.spec import Spec, with_settings

SPECS = ASSETS / "specs" / "suite"
LETTERS = "ABCDEFGH"
POLL_INTERVAL_S = 0.5


def specs(own: Spec, letters: str = LETTERS, settings: Iterable[str] = ()) -> list[Spec]:
    """Specs of the suite on the data and the site of `own`, each with the settings `section.option=value`.

    Raises
    ------
    SpecError
        If `own` has no LR field, a letter isn't one of the suite, a setting doesn't fit one of the models, or
        there are patches, in which those with a localized block can't be trained.
    """
    if own.data.lr is None:
        raise SpecError(
            "data.lr is missing",
            option="data.lr",
            hint="the suite compares networks that learn from a given LR field (mos) with networks that learn from "
            "coarsened HR (perfect-prog), and tests them all on data.lr",
        )
    if unknown := [letter for letter in letters if letter not in LETTERS]:
        raise SpecError(f"{unknown[0]} is no model of the suite", hint=did_you_mean(unknown[0], list(LETTERS)))
    if not letters:
        raise SpecError("no model is named", hint=f"expected letters of the suite, {LETTERS} for all")
    settings = list(settings)
    models = {letter: with_settings(_model_on_data_of(own, letter), settings) for letter in letters}
    _check_patches(models)
    return [Spec.from_plain(model) for model in models.values()]


def create(suite: Sequence[Spec], store: Store) -> list[Run]:
    """Create a run folder for each spec, queued until `conduct` starts it; raises SiteError or StoreError."""
    return [api.create(spec, store) for spec in suite]


def start(runs: Sequence[Run]) -> subprocess.Popen[bytes]:
    """Conduct the runs in a process of its own, which outlives this one."""
    return local.detach(["conduct", *(str(run.folder) for run in runs)], 1, Path(os.devnull))


def conduct(runs: Sequence[Run]) -> None:
    """Start each run when the one before it has ended, unless it was cancelled or started meanwhile.

    Runs on a site don't wait for each other, since it has a queue of its own.
    """
    for run in runs:
        is_started = run.launches() or run.request.stage is not None
        if run.folder.exists() and not is_started and not run.cancel_file.exists():
            try:
                api.start(run)
            except MesoscopeError as error:  # nobody watches this process: the run has to say it
                if not run.is_remote:  # it does so itself
                    run.record_launch(LaunchEvent.ENDED, rc=None, reason=str(error))
        while run.folder.exists() and not run.is_remote and run.status().state.is_active:
            time.sleep(POLL_INTERVAL_S)


def _model_on_data_of(own: Spec, letter: str) -> dict[str, object]:
    """The plain spec of a model of the suite, on other data; its pairing and time window stay."""
    model = Spec.read(SPECS / f"{letter.lower()}.yaml")
    data = own.data.replace(pairing=model.data.pairing, time_window=model.data.time_window)
    launch = own.launch.replace(title=model.launch.title)
    return {**model.plain(), "data": data.plain(), "launch": launch.plain()}


def _check_patches(models: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
    """Raise SpecError that names all models which can't be trained in patches."""
    patch_size = next(iter(models.values()))["data"].get("patch_size")  # the same for all
    localized = [letter for letter, plain in models.items() if plain["model"].get("localized") is True]
    if not patch_size or not isinstance(patch_size, int) or not localized:
        return
    others = "".join(letter for letter in models if letter not in localized)
    train_others = f"train {', '.join(others)} only (--models {others}), " if others else ""
    raise SpecError(
        f"data.patch_size is {patch_size}, but {', '.join(localized)} of the suite have a localized block, with "
        "separate weights for each cell of the whole grid",
        option="data.patch_size",
        action=f"{train_others}set data.patch_size=0, or model.localized=false for all models",
    )
