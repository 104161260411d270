"""Baselines of runs that were evaluated before there were any, or that lost them: fitted from the run's data, later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.data.netcdf import open_netcdf
from engine.data.normalizer import Normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples
from engine.errors import DataError, RunError
from engine.evaluation.products import open_products, second_beside
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import score
from engine.evaluation.vector_scores import with_vector
from engine.files import to_json, write_whole
from engine.models.network import bound_of
from engine.run import fit_run_baselines
from engine.runs import Run


def fit_late_baselines(run: Run) -> tuple[str, ...]:
    """Write results/baselines.nc of an evaluated run, and their scores into scores.json; returns notes on the fit.

    Raises
    ------
    RunError
        If the run has no normalizer.
    DataError
        Or one of its kinds: if the run's data are gone, or aren't those of test.nc any more.
    """
    if not run.normalizer_file.is_file():
        raise RunError(f"run {run.id} has no {run.normalizer_file.name}")
    normalizer, pairs = Normalizer.load(run.normalizer_file), pair(run.spec.data)
    samples = Samples.of(run.spec, pairs.for_evaluation(), normalizer, pairs.parts.test)
    _check_same_data(run, samples)
    notes = fit_run_baselines(run, pairs, samples, bound_of(run.spec.model, normalizer))
    if not run.baselines.is_file():
        return notes
    known = Scores.from_plain(run.scores() or {})
    with open_products(run.results) as results:
        scores = replace(score(results), constraint=known.constraint, ensemble=known.ensemble)
    write_whole(run.scores_file, to_json(with_vector(scores, run.results).to_plain()))
    if run.done_file.exists():
        second = second_beside(run.baselines)
        run.write_manifest(run.baselines, run.scores_file, *[second] * second.is_file())
    return notes


def _check_same_data(run: Run, samples: Samples) -> None:
    """Compare times, and HR of the first and the last step, with those of test.nc."""
    with open_netcdf(run.results) as results:
        stored, times = results["hr"], samples.pairs.times[samples.steps].values
        is_same = np.array_equal(stored["time"].values, times)
        if is_same and len(times):
            ends = [0, len(times) - 1]
            y, x = samples.pairs.data_shape
            hr = samples.pairs.read(samples.steps[ends]).hr[:, :y, :x]
            is_same = np.allclose(stored[ends].values, hr, rtol=1e-4, atol=1e-6, equal_nan=True)
    if not is_same:
        raise DataError(
            f"the data of run {run.id} have changed: times or HR of the test part aren't those of {run.results.name}",
            action="give the files that it was trained with, or train anew",
        )
