"""One run from reading its data to its verification, as each rank executes it."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.data.netcdf import open_netcdf
from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples
from engine.downscale import load_networks, load_trained
from engine.errors import MesoscopeError, RanksLostError
from engine.evaluation.baseline_file import write_baselines
from engine.evaluation.ensemble import EnsembleSums
from engine.evaluation.predict import Downscaler, write_results
from engine.evaluation.products import open_products, second_beside
from engine.evaluation.scores import constraint_violation, scores_of_steps, summarized
from engine.evaluation.vector_scores import with_vector
from engine.evaluation.verification import write_verification
from engine.evaluation.withheld import withheld_beside
from engine.evaluation.withheld_fields import write_withheld
from engine.files import append_line, read_json, to_json, write_whole
from engine.models.residual_draws import MEAN
from engine.runs import Heartbeat, RankEnd, Run, Store, describe_error
from engine.training import checkpoints
from engine.training.assembly import build_network, build_training, make_reproducible, with_precision
from engine.training.loop import Training
from engine.training.memory_budget import HR_CELLS_AT_ONCE
from engine.training.position import Position
from engine.training.progress import Earlier, ProgressRecord
from engine.training.workers import Workers, detect_lost_ranks, join, rejoin


def work(run: Run) -> None:
    """Train, evaluate, and mark the run as done; or stop before, when asked to."""
    workers = join()
    with Heartbeat(run, workers.rank, workers.size) as heartbeat:
        heartbeat.phase("reading")
        pairs = pair(run.spec.data)
        trained, training = _train_with_remaining_ranks(run, workers, heartbeat, pairs)
        if len(trained) < len(run.spec.trainings):
            epoch = len(trained) * run.spec.training.epochs + training.position.epoch + 1
            _log(f"stopped in epoch {epoch}: {training.stop.reason}; resume continues from here")
            heartbeat.end(RankEnd.STOPPED, reason=training.stop.reason)
            return
        networks = [trained[number] for number in range(run.spec.training.ensemble)]
        if training.workers.chief:
            evaluate(run, heartbeat, networks, pairs)
            run.write_manifest()
            write_whole(run.folder / "DONE", to_json({"time": time.time()}))
        weights = [variable for network in networks for variable in network.trainable_variables]
        heartbeat.end(RankEnd.DONE, weights=checkpoints.fingerprint(weights))


def share_normalizer(run: Run, workers: Workers, pairs: Pairs) -> Normalizer:
    """Fit the normalizer once, on rank 0, and broadcast it; a resumed run keeps the one it had."""
    if workers.chief and not run.normalizer_file.exists():
        _fit_normalizer(run, pairs).save(run.normalizer_file, pairs)
    content = workers.broadcast_bytes(run.normalizer_file.read_bytes() if workers.chief else b"")
    with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        file.write(content)
        file.flush()
        return Normalizer.load(Path(file.name))


def prepare_training(
    run: Run,
    workers: Workers,
    network: keras.Model,
    pairs: Pairs,
    normalizer: Normalizer,
    number: int = 0,
    stop: StopRequest | None = None,
    trained: Mapping[int, keras.Model] | None = None,
) -> Training:
    """Build a training that is ready to run, of one network of `Spec.trainings`.

    It starts from the last checkpoint if there is one, else from another run's weights, else from new ones.
    trained : networks that this run has trained before, by number; with flow matching the mean is among them.
    """
    earlier, of = _trained_earlier(run, number), len(run.spec.trainings)

    def report(record: ProgressRecord) -> None:
        append_line(run.folder / "progress.jsonl", record.after(earlier, of).plain())

    spec, folder, asked = run.spec.of_network(number), run.folder / "checkpoints", stop or StopRequest.of(run)
    training = build_training(spec, workers, network, pairs, normalizer, folder, report, asked, number)
    if training.resume():
        _log(f"resumed in epoch {training.position.epoch + 1} after step {training.position.step}")
    else:
        if mean := (trained or {}).get(number + run.spec.training.ensemble):
            for variable, learned in zip(network.get_layer(MEAN).variables, mean.variables, strict=True):
                variable.assign(learned)
        elif start := Store(run.folder.parent).start_run(run.spec):
            weights = start.best_of(number % start.spec.training.ensemble)
            groups, _ = checkpoints.load(weights)
            whole = start.spec.draws_residuals or not run.spec.draws_residuals
            variables = (network if whole else network.get_layer(MEAN)).variables
            checkpoints.import_checkpoint(variables, groups["weights"], weights, optional="localized")
        training.step.prepare(training.train, training.validation.feed, training.shuffle)
    source = "in memory" if training.train.in_memory else "read ahead from the files"
    _log(f"{len(training.train.samples)} training samples, {source}")
    return training


def evaluate(run: Run, heartbeat: Heartbeat, networks: Sequence[keras.Model], pairs: Pairs) -> None:
    """Downscale the test part and score it."""
    parts, normalizer = pairs.parts, Normalizer.load(run.normalizer_file)
    validation, samples = (
        Samples.of(run.spec, pairs.for_evaluation(), normalizer, part) for part in (parts.validation, parts.test)
    )
    downscaler = Downscaler.of(networks, run.spec, samples)
    if downscaler.members:
        heartbeat.phase("calibrating intervals")
        downscaler = _calibrate(downscaler, validation)

    def report(done: int, total: int) -> None:
        heartbeat.phase(f"downscaling {done} of {total}")

    report(0, len(samples))
    ensemble, title = EnsembleSums(), f"{run.title}: test part of run {run.id}"
    for note in write_results(run.results, downscaler, samples, report, title, ensemble):
        _log(note)
    run.stations.unlink(missing_ok=True)  # of an earlier evaluation
    if pairs.stations:
        heartbeat.phase("downscaling without a fold of stations")
        write_withheld(withheld_beside(run.results), downscaler, samples, f"{title}, at withheld stations")
    heartbeat.phase("fitting baselines")
    add_baselines(run, pairs, samples, downscaler.bound)
    heartbeat.phase("scoring")
    with open_products(run.results) as results:
        steps = scores_of_steps(results)
        scores = replace(summarized(steps), ensemble=ensemble.scores())
        if run.spec.model.constraint != "none":
            violation = constraint_violation(results, pairs.hr_grid.cell_areas(), pairs.scale)
            scores = replace(scores, constraint=violation)
            largest = f"{violation.max_violation:.2g} {violation.unit}"
            _log(f"{run.spec.model.constraint} constraint: off by at most {largest}")
    write_whole(run.scores_file, to_json(with_vector(scores, run.results).to_plain()))
    heartbeat.phase("verifying")
    verify_results(run, steps)


def _calibrate(downscaler: Downscaler, validation: Samples) -> Downscaler:
    """Calibrate intervals of members; a run is complete without them, so a failure is logged, and nothing else."""
    try:
        return downscaler.calibrate(validation)
    except Exception as error:
        _log(f"intervals were not calibrated ({describe_error(error)})")
        return downscaler


def add_baselines(run: Run, pairs: Pairs, samples: Samples, bound: str) -> None:
    """Write results/baselines.nc; a run is complete without it, so a failure is logged and leaves the rest alone."""
    for path in (run.baselines, second_beside(run.baselines)):
        path.unlink(missing_ok=True)  # of an earlier evaluation
    try:
        for note in fit_run_baselines(run, pairs, samples, bound):
            _log(note)
    except Exception as error:
        _log(f"baselines.nc was not written ({describe_error(error)})")


def fit_run_baselines(run: Run, pairs: Pairs, samples: Samples, bound: str) -> tuple[str, ...]:
    """Write results/baselines.nc of samples of the test part; returns notes on what was fitted, or left out."""
    cells = math.prod(pairs.hr_grid.shape)
    if cells > HR_CELLS_AT_ONCE:
        too_many = f"more than {HR_CELLS_AT_ONCE} would take much memory"
        return (f"no baselines are fitted to fields of {cells} cells: {too_many}",)
    title, notes = f"{run.title}: baselines of run {run.id}", list[str]()
    for second in samples.components[1:]:
        of_second = write_baselines(second_beside(run.baselines), pairs.swapped, second, bound, title)
        notes += [f"second component: {note}" for note in of_second]
    try:
        start = _start_downscaler(run, samples)
    except MesoscopeError as error:  # it was deleted meanwhile, say
        notes.append(f"the run it started from is left out ({describe_error(error)})")
        start = None
    return (*notes, *write_baselines(run.baselines, pairs, samples, bound, title, start))


def _start_downscaler(run: Run, samples: Samples) -> tuple[Downscaler, Samples] | None:
    """The run that training started from, for the same test part; None if its grid, inputs or unit are others,
    or one of both has a second component."""
    start = Store(run.folder.parent).start_run(run.spec)
    if start is None:
        return None
    (normalizer, template), pairs = load_trained(start), samples.pairs
    its, mine = (
        (data.scale, [each.variable for each in data.predictors], [each.variable for each in data.static])
        for data in (start.spec.data, run.spec.data)
    )
    if run.spec.data.target_v or start.spec.data.target_v:
        return None
    has_same_unit = template.hr.attrs.get("units") == pairs.hr.attrs.get("units")
    if its != mine or not has_same_unit or not grid_of(template.hr).is_close_to(pairs.hr_grid):
        return None
    if normalizer.anomalies:
        normalizer.anomalies.season.check(pairs.times.isel(time=samples.steps), "the test part")
    given = Samples.of(start.spec, pairs, normalizer, samples.steps)
    return Downscaler.of(load_networks(start, pairs, normalizer), start.spec, given), given


def verify_results(run: Run, steps: xr.DataArray | None = None) -> None:
    """Write results/verification.nc; a run is complete without it, so a failure is logged and leaves the rest alone.

    Fields larger than are predicted at once are left to `engine verify`: their sums would take more memory than `check`
    estimates for the run.
    """
    try:
        for path in (run.verification, second_beside(run.verification)):
            path.unlink(missing_ok=True)  # of an earlier evaluation
        with open_netcdf(run.results) as results:
            cells = math.prod(results["hr"].shape[1:])
        if cells > HR_CELLS_AT_ONCE:
            _log(
                f"verification.nc of {cells} cells takes 3 kB each, so it is left to: python -m engine verify {run.id}"
            )
            return
        write_verification(run.results, run.verification, steps)
    except Exception as error:
        _log(f"verification.nc was not written ({describe_error(error)}); later: python -m engine verify {run.id}")


@dataclass
class StopRequest:
    """Request to cancel or pause the run, or the end of its time; True when called once there is one."""

    run: Run
    deadline: float
    reason: str = ""

    @classmethod
    def of(cls, run: Run) -> StopRequest:
        minutes = 0 if "SLURM_JOB_ID" in os.environ else run.spec.launch.time_limit  # Slurm's signal pauses a job
        return cls(run, time.monotonic() + 60 * minutes if minutes else math.inf)

    def __call__(self) -> bool:
        if self.run.cancel_file.exists():
            self.reason = "cancelled"
        elif self.run.pause_file.exists():
            self.reason = str(read_json(self.run.pause_file).get("reason", "paused"))
        elif time.monotonic() > self.deadline:
            self.reason = f"the time limit of {self.run.spec.launch.time_limit} min was reached"
        return bool(self.reason)


def _train_with_remaining_ranks(
    run: Run, workers: Workers, heartbeat: Heartbeat, pairs: Pairs
) -> tuple[dict[int, keras.Model], Training]:
    """Train, again after ranks are lost on the way; returns the networks that are trained, and the last training."""
    while True:
        try:
            with detect_lost_ranks():
                return _train(run, workers, heartbeat, pairs)
        except RanksLostError as loss:
            _log(f"{loss}: waiting for those that are left")
            heartbeat.phase("waiting for the ranks that are left")
        workers = rejoin(workers)
        _log(f"rank {workers.first_rank} goes on as rank {workers.rank} of {workers.size}")


def _train(run: Run, workers: Workers, heartbeat: Heartbeat, pairs: Pairs) -> tuple[dict[int, keras.Model], Training]:
    """Train the networks one after another, up to the first that is asked to stop; those trained before are read."""
    if workers.chief:
        run.remove_partial_files()
    normalizer, trained = share_normalizer(run, workers, pairs), dict[int, keras.Model]()
    of, stop = len(run.spec.trainings), StopRequest.of(run)
    spec, note = with_precision(run.spec, workers)
    if note and workers.chief:
        _log(note)
    left = "" if not workers.round else f" with {workers.size} of {run.spec.launch.processes} processes"
    for number in run.spec.trainings:
        make_reproducible(spec.of_network(number))
        network = build_network(run.spec.of_network(number), pairs, normalizer)
        training = prepare_training(run, workers, network, pairs, normalizer, number, stop, trained)
        heartbeat.phase(f"training{f' network {len(trained) + 1} of {of}' if of > 1 else ''}{left}")
        if not training.run():
            break
        trained[number] = network
    return trained, training


def _trained_earlier(run: Run, number: int) -> Earlier:
    """Networks before one, with what their last checkpoints say of their records and their time."""
    before = run.spec.trainings[: run.spec.trainings.index(number)]
    positions = [Position.from_state(checkpoints.load(run.last_of(each))[1]) for each in before]
    seq, elapsed_s = (sum(getattr(position, name) for position in positions) for name in ("seq", "elapsed_s"))
    return Earlier(len(before), seq, elapsed_s)


def _fit_normalizer(run: Run, pairs: Pairs) -> Normalizer:
    """Fit to the training part.

    A run that starts from another's weights has a normalizer of its own, so that its fields, of another region, say,
    are about as large as those that the network was trained with.
    """
    fitted = fit_normalizer(pairs, run.spec.data.scaling)
    if start := Store(run.folder.parent).start_run(run.spec):  # keep its network's channel for gaps, or its absence
        return replace(fitted, lr_has_gaps=Normalizer.load(start.normalizer_file).lr_has_gaps)
    return fitted


def _log(line: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
