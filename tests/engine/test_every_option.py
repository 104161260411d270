"""Every declared option is read: change it, and something observable changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine import run as engine_run
from engine.data import station_inputs
from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples, Shuffle
from engine.errors import MesoscopeError
from engine.evaluation.predict import Downscaler
from engine.launch import api
from engine.launch.ranks import command
from engine.launch.remote import scheduler, staging
from engine.launch.sites import Site
from engine.launch.supervision import supervisor
from engine.launch.supervision.launch_token import LaunchToken
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import assembly, checkpoints
from engine.training.checkpoints import BEST
from engine.training.loop import Training
from engine.training.workers import Workers
from tests.engine.data.mock import steps, write_field
from tests.engine.option_variants import variants

ONE_WORKER = Workers(0, 1)
CLUSTER = Site.called("cluster", {"kind": "slurm", "partitions": ["cpu", "gpu-2"], "accounts": ["mine", "climate"]})
Sections = dict[str, dict[str, Any]]

BASE: Sections = {
    "data": {"target": {"path": "hr.nc"}, "scale": 2, "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "dropout_rate": 0.2},
    "training": {"epochs": 8, "batch_size": 2, "patience": 2, "warm_up": 0.1},
}
ADVERSARIAL, FLOW = {"learning": "adversarial"}, {"learning": "flow-matching"}
ONLY_ADVERSARIAL = ("adversarial_weight", "discriminator_learning_rate", "label_smoothing")
# BEFORE replaces BASE where an option has no effect there; AFTER replaces a variant whose files don't exist.
STOCHASTIC = {**BASE["model"], "dropout_variant": "mc_vanilla"}
VECTOR = {"pairing": "mos", "target_v": {"path": "hr2.nc"}, "lr": {"path": "lr.nc"}}
BEFORE: dict[str, Sections] = {
    "data.lr": {"data": {"pairing": "mos", "lr": {"path": "lr.nc"}}},
    "data.lr_v": {"data": VECTOR | {"lr_v": {"path": "lr.nc"}}},
    **{f"training.{name}": {"training": {"schedule": "piecewise"}} for name in ("decay_at", "decay_factor")},
    **{f"training.{name}": {"training": ADVERSARIAL} for name in ONLY_ADVERSARIAL},
    "training.quantile": {"training": {"loss": "quantile"}},
    "model.temporal": {"data": {"time_window": 3}},
    "model.members": {"model": STOCHASTIC},
    "model.noise": {"model": {"noise": 1}, "training": {"loss": "crps"}},
    "model.sampling_steps": {"training": FLOW},
    "training.members": {"model": {"noise": 1}, "training": {"loss": "crps"}},
    "launch.min_processes": {"launch": {"processes": 3}},
}
AFTER: dict[str, Sections] = {
    "data.target": {"data": {"target": {"path": "hr2.nc"}}},
    "data.pairing": {"data": {"pairing": "mos", "lr": {"path": "lr.nc"}}},
    "data.lr": {"data": {"pairing": "mos", "lr": {"path": "lr2.nc"}}},
    "data.target_v": {"data": {"target_v": {"path": "hr2.nc"}}},
    "data.lr_v": {"data": VECTOR | {"lr_v": {"path": "lr2.nc"}}},
    "data.predictors": {"data": {"predictors": [{"path": "lr.nc"}]}},
    "data.static": {"data": {"static": [{"path": "dem.nc"}]}},
    "data.stations": {"data": {"stations": {"path": "stations.csv"}}},
    "data.region": {"data": {"region": {"lat": [40.0, 42.6], "lon": [1.0, 4.0]}}},
    "data.period": {"data": {"period": ["2001-01-01", "2001-01-03"]}},
    "model.localized": {"model": {"localized": True}},
    "training.decay_at": {"training": {"schedule": "piecewise", "decay_at": 0.6}},
    "training.decay_factor": {"training": {"schedule": "piecewise", "decay_factor": 0.2}},
    "training.adversarial_weight": {"training": {**ADVERSARIAL, "adversarial_weight": 0.5}},
    "training.discriminator_learning_rate": {"training": {**ADVERSARIAL, "discriminator_learning_rate": 0.5}},
    "training.label_smoothing": {"training": {**ADVERSARIAL, "label_smoothing": 0.3}},
    "model.temporal": {"data": {"time_window": 3}, "model": {"temporal": "stacked"}},
    "model.members": {"model": {**STOCHASTIC, "members": 9}},
    "model.noise": {"model": {"noise": 2}, "training": {"loss": "crps"}},
    "model.sampling_steps": {"training": FLOW, "model": {**BASE["model"], "sampling_steps": 3}},
    "training.members": {"model": {"noise": 1}, "training": {"loss": "crps", "members": 3}},
    "training.epochs": {"training": {"epochs": 9}},
    "training.patience": {"training": {"patience": 3}},
    "training.start_from": {"training": {"start_from": "trained"}},
    "training.quantile": {"training": {"loss": "quantile", "quantile": 0.5}},
    "launch.min_processes": {"launch": {"processes": 3, "min_processes": 2}},
}
VALIDATION_LOSSES = [5.0, 4.95, 4.9, *[5.0] * 20]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    times = steps(24, frequency="6h")
    write_field(folder / "hr.nc", ny=8, nx=12, times=times)
    write_field(folder / "hr2.nc", ny=8, nx=12, times=times, seed=1)
    for seed, name in enumerate(("lr.nc", "lr2.nc")):
        write_field(folder / name, ny=6, nx=8, south=39.0, west=-1.0, dy=1.0, dx=1.0, times=times, seed=2 + seed)
    write_field(folder / "dem.nc", ny=8, nx=12, times=0, units="m", seed=4)
    rows = [f"a,41.0,2.0,{when:%Y-%m-%dT%H:%M},{280 + number}" for number, when in enumerate(times)]
    (folder / "stations.csv").write_text("\n".join(["id,lat,lon,date,t2m (K)", *rows]))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(autouse=True, scope="module")
def _no_question_to_horovod() -> Iterator[None]:
    """Skip the question of how Horovod was built, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "controller", lambda horovodrun: "--gloo")
        yield


@pytest.fixture(autouse=True)
def _few_values_of_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_inputs, "MIN_VALUES", 3)


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def spec_of(files: Path, changes: Sections) -> Spec:
    plain: dict[str, Any] = {"version": 1, **copy.deepcopy(BASE)}
    for section, options in changes.items():
        plain[section] = {**plain.get(section, {}), **options}
    return Spec.from_plain(plain, files)


def observe_data(spec: Spec, store: Store) -> list[Any]:
    """Observe the samples of each part, the normalizer fitted on them, and their order."""
    pairs, normalizer = _prepare(spec)
    parts = (pairs.parts.train, pairs.parts.validation, pairs.parts.test)
    loaded = [Samples(pairs, normalizer, spec.data, part) for part in parts]
    plan = Shuffle.of(spec, len(parts[0]), pairs.lr_grid.shape).epoch(0)
    arrays = [array for samples in loaded for array in (*samples.load_all(), samples.static)]
    return [normalizer.target, normalizer.residual_std, *(array.tobytes() for array in (*arrays, plan))]


def observe_model(spec: Spec, store: Store) -> list[Any]:
    """Observe the layers of the network with their configuration, and the number of predictions."""
    pairs, normalizer = _prepare(spec)
    network = assembly.build_network(spec, pairs, normalizer)
    members = Downscaler.of([network], spec, Samples.of(spec, pairs, normalizer, pairs.parts.test)).members
    return [members, *([type(layer).__name__, layer.get_config()] for layer in network.layers)]


def observe_training(spec: Spec, store: Store) -> dict[str, Any]:
    """Observe first weights, plan, first loss, learning rates, a step of the optimizer, and the number of epochs."""
    assembly.make_reproducible(spec)
    pairs, normalizer = _prepare(spec)
    network = assembly.build_network(spec, pairs, normalizer)
    _write_trained(store, spec, network, normalizer, pairs)
    run = store.create(spec, {})
    training = engine_run.prepare_training(run, ONE_WORKER, network, pairs, normalizer)
    seen: dict[str, Any] = {"weights": checkpoints.fingerprint(network.variables)}
    seen["formats"] = [layer.compute_dtype for layer in network.layers]
    plans = list(training.plans())
    seen["plans"] = [plan.tolist() for plan in plans]
    batch = next(iter(training.train.stream(lambda: iter(plans))))
    losses, gradients = training.step.gradients(batch)
    seen["loss"] = losses.numpy().tolist()
    seen["gradients"] = [float(tf.reduce_sum(tf.abs(gradient))) for gradient in gradients]
    optimizers = (training.step.optimizer, getattr(training.step, "discriminator_optimizer", None))
    seen["rates"] = [_rates_of(optimizer) for optimizer in optimizers if optimizer]
    two = assembly.build_step(spec, Workers(0, 2), network, pairs, normalizer, training.shuffle.steps)
    seen["rates of two processes"] = _rates_of(two.optimizer)
    ones = [tf.ones_like(variable) for variable in network.trainable_variables]
    training.step.optimizer.apply(ones, network.trainable_variables)
    seen["after a step"] = checkpoints.fingerprint(network.trainable_variables)
    training.step.average.update(tf.constant(1))
    seen["averaged"] = checkpoints.fingerprint(training.step.average.variables)
    seen["epochs"] = _count_epochs(training)
    seen["epochs of all networks"] = run.latest()["epochs"]
    return seen


def observe_launch(spec: Spec, store: Store) -> list[Any]:
    """Observe the job script, the files sent to a site, title, command, time limit and restarts."""
    job = scheduler.job_script(CLUSTER, spec.launch, "token", "/there/runs/one", "/there/engine/one")
    sent = sorted(path.name for path in staging.inputs_of(spec, "/there").files.values())
    try:
        run = api.create(spec, store)
    except MesoscopeError as error:
        return [job, sent, str(error)]
    words = command.plan(run, {}).command
    stops, restarts = (
        engine_run.StopRequest.of(run).deadline < float("inf"),
        supervisor.Supervisor(run, LaunchToken(run)).may_restart(),
    )
    return [job, sent, run.title, words[:-1], stops, restarts]


OBSERVERS = {
    "data": observe_data,
    "model": observe_model,
    "training": observe_training,
    "launch": observe_launch,
}


@pytest.fixture(scope="module")
def base_observations(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = Store(tmp_path_factory.mktemp("first") / "runs")
    return {section: observe(spec_of(files, {}), store) for section, observe in OBSERVERS.items()}


@pytest.mark.parametrize("section", OBSERVERS)
def test_observations_of_the_same_spec_are_the_same(section, files, store, base_observations):
    assert OBSERVERS[section](spec_of(files, {}), store) == base_observations[section]


@pytest.mark.parametrize("path", variants())
def test_every_option_is_read(path, files, store, base_observations):
    section = path.split(".")[0]
    observe = OBSERVERS[section]
    before = spec_of(files, BEFORE.get(path, {}))
    after = spec_of(files, AFTER.get(path) or variants()[path])
    assert before != after
    assert observe(after, store) != (observe(before, store) if path in BEFORE else base_observations[section])


def _prepare(spec: Spec) -> tuple[Pairs, Normalizer]:
    pairs = pair(spec.data)
    return pairs, fit_normalizer(pairs, spec.data.scaling)


def _write_trained(store: Store, spec: Spec, network: keras.Model, normalizer: Normalizer, pairs: Pairs) -> None:
    """Write a run named `trained` to start from, all of whose weights are 1."""
    folder = store.folder / "trained" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "spec.yaml").write_text(spec.to_yaml())
    normalizer.save(folder / "scaling.nc", pairs)
    weights = {name: np.full_like(array, 1) for name, array in checkpoints.arrays_of(network.variables).items()}
    checkpoints.save(folder / BEST, {"weights": weights}, {})
    assert Run(folder.parent) in store.runs()


def _rates_of(optimizer: keras.Optimizer) -> list[float]:
    rates = []
    for step in range(0, 40, 3):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    optimizer.iterations.assign(0)
    return rates


def _count_epochs(training: Training) -> int:
    """Run the loop with given validation losses in place of steps; returns the epoch at which it stops."""
    losses = iter(VALIDATION_LOSSES)
    training.step.run = lambda batches, chunk: tf.ones(len(training.step.losses))
    training.step.validate = lambda batches, chunk: tf.constant([next(losses), 1, 1, 1], tf.float64)
    assert training.run()
    return training.position.epoch
