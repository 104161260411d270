"""Online learning: the spec of a run that goes on from another one with new time steps, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engine.data.forecasts import is_forecast
from engine.data.pairs import Pairs, pair
from engine.data.times import PARTS, encode
from engine.errors import RequestError, TimeError
from engine.evaluation.products import START_RUN, open_products
from engine.evaluation.scores import scores_of_steps
from engine.runs import Run
from engine.spec import DataOptions, Source, Spec

SHARES = np.array([0.7, 0.85, 1.0])  # ends of the parts among the new steps, as the default of data.split
LEAST_STEPS = 7  # so that each part has one
SLOWER = 0.3  # of the learning rate, and
SHORTER = 0.25  # of the epochs: the network has learned most of it already


def updated_spec(run: Run, target: Sequence[str], lr: Sequence[str], predictors: Sequence[Sequence[str]]) -> Spec:
    """Make the spec of a run that starts from the weights of another, on its data with further files.

    The steps after the last one of the run are divided into parts like its own, and added to these: old training steps
    are trained with again, and old test steps stay test steps.

    Parameters
    ----------
    target, lr : files with new time steps; lr is empty if the run has no `data.lr`.
    predictors : files of each predictor, in the order of the spec.

    Raises
    ------
    RequestError
        If files are missing, or the run is of forecasts or of a single time step.
    DataError
        Or one of its kinds: for whatever in the files doesn't fit.
    """
    data = run.spec.data
    wanted = len(data.predictors)
    if data.target_v:
        raise RequestError(
            f"run {run.id} has two components of a vector (data.target_v)",
            hint="such a run can't be updated yet",
            action="train a new run on all files, with training.start_from if it shall begin from this one",
        )
    if bool(lr) != (data.lr is not None) or len(predictors) != wanted:
        given = f"{'--lr' if lr else 'no --lr'} and {len(predictors)} of --predictor"
        has = f"{'data.lr' if data.lr else 'no data.lr'} and {wanted} predictors"
        raise RequestError(f"{given} given", hint=f"run {run.id} has {has}: expected new files of each")
    changed: dict[str, object] = {"target": _extended(data.target, target), "period": None}
    if data.lr is not None:
        changed["lr"] = _extended(data.lr, lr)
    changed["predictors"] = [_extended(*both) for both in zip(data.predictors, predictors, strict=True)]
    options = data.replace(**changed)
    before, after = pair(data), pair(options)
    if before.is_split_by_rows or is_forecast(before.times):
        raise RequestError(f"run {run.id} is of forecasts, or of a single time step", hint="expected a time series")
    title = f"{run.title}, updated"
    training = run.spec.training
    return run.spec.replace(
        data={**changed, "split": {**_parts(before, after, data), "gap": data.split.gap}},
        training={
            "start_from": run.id,
            "learning_rate": SLOWER * training.learning_rate,
            "epochs": max(1, round(SHORTER * training.epochs)),
        },
        launch={"title": title},
    )


def rmse_by_part(run: Run) -> Mapping[str, Mapping[str, float]]:
    """Give RMSE, the mean over time steps, of the old and the new test steps of an updated run.

    Returns
    -------
    {old or new: {before, after, interpolated: RMSE}} in the unit of the target; before is missing where the run it
    started from could not be applied.
    """
    split = run.spec.data.split
    assert isinstance(split.test, tuple)
    with open_products(run.results) as results:
        steps = scores_of_steps(results).sel(metric="rmse")
    first = np.int64("".join(f"{part:02d}" for part in split.test[-1].begin))
    is_new = encode(steps["time"]) >= first
    names = {"before": START_RUN, "after": "downscaled", "interpolated": "interpolated"}
    known = {name: product for name, product in names.items() if product in steps["product"].values}
    return {
        part: {name: float(np.nanmean(steps.sel(product=product).values[chosen])) for name, product in known.items()}
        for part, chosen in (("old", ~is_new), ("new", is_new))
    }


def _extended(source: Source, files: Sequence[str]) -> dict[str, object]:
    plain = source.plain()
    return {**plain, "path": [*source.files(), *Source(tuple(files)).files()]}


def _parts(before: Pairs, after: Pairs, data: DataOptions) -> dict[str, list[list[str]]]:
    """Give the periods of each part: those of the run, and their shares of the new steps."""
    old, times = encode(before.times), encode(after.times)
    new = np.flatnonzero(times > old.max())
    if len(new) < LEAST_STEPS:
        raise TimeError(
            f"the new files have {len(new)} time steps after the last one of the run",
            hint=f"expected at least {LEAST_STEPS}",
        )
    ends = np.rint(SHARES * len(new)).astype(int)
    shares = np.split(new, ends[:-1])
    periods = {}
    for name, share in zip(PARTS, shares, strict=True):
        kept = np.flatnonzero(np.isin(times, old[getattr(before.parts, name)]))
        blocks = [*np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1), share]
        periods[name] = [[_text(times[block[0]]), _text(times[block[-1]])] for block in blocks]
    return periods


def _text(moment: np.int64) -> str:
    """Format YYYYMMDDhhmmss as a spec takes it."""
    digits = f"{int(moment):014d}"
    year, rest = digits[:-10], digits[-10:]
    return f"{year}-{rest[:2]}-{rest[2:4]}T{rest[4:6]}:{rest[6:8]}:{rest[8:]}"
