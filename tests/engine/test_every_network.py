"""Every network and every value of every option: built, trained two steps, saved, loaded, and predicted with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine import run as engine_run
from engine.data import station_inputs
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.downscale import restore_best_weights
from engine.evaluation.predict import Downscaler
from engine.options import Choice, Flag
from engine.runs import Run, Store
from engine.spec import SECTIONS, Spec, TrainingOptions
from engine.training import assembly, checkpoints, loop
from engine.training.workers import Workers
from tests.engine.data.test_station_inputs import series_of
from tests.engine.network_combinations import ANY_SCALE, COMBINATIONS, Combination
from tests.engine.small_pairs import make_pairs, waves
from tests.engine.stop_and_resume import StopAfter

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions:UserWarning")

ALONE = Workers(0, 1)
BASE: dict[str, dict[str, Any]] = {
    "data": {"target": {"path": "hr.nc"}, "scale": 2},
    "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "members": 2, "sampling_steps": 1},
    "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, "warm_up": 0.0},
}
IN_GRAPHS = [each for each in COMBINATIONS if each.upsampling == "spc" or each.backbone == "unet"]
NOISE = {"model": {"noise": 1, "members": 2}, "training": {"loss": "crps"}}
FLOWS = ("flow-matching", "normalizing-flow")
DRAWN = [(each, NOISE) for each in IN_GRAPHS if each.backbone in ("resnet", "unet")] + [
    (IN_GRAPHS[0], {"training": {"learning": flow}}) for flow in FLOWS
]
LEARNING = TrainingOptions.declared()["learning"].objects
# Flows train two networks, as those of supervised training: here each backbone, at LR and at HR, and a window; a
# normalizing flow has the same second network but for its last layer.
WITH_FLOW = [each for each in IN_GRAPHS if each.window == 1 or each.backbone == "resnet"] + [
    each for each in COMBINATIONS if str(each) == "resnet-pin"
]
WITH_NORMALIZING_FLOW = [each for each in WITH_FLOW if each.backbone in ("resnet", "swin", "unet")]
LEARNED = [
    (each, learning)
    for each, learning in product(COMBINATIONS, LEARNING)
    if learning not in FLOWS or each in (WITH_FLOW if learning == FLOWS[0] else WITH_NORMALIZING_FLOW)
] + [(each, "supervised") for each in ANY_SCALE]
STATIONS = {"data": {"stations": {"path": "stations.csv"}}}
WITH_STATIONS = [
    *((each, "supervised") for each in (*ANY_SCALE, IN_GRAPHS[0])),
    *((IN_GRAPHS[0], learning) for learning in ("adversarial", *FLOWS)),
]
OPTIONS = ("data", "model", "training")
# What has to change with a value; None: files of another kind, which tests of the data read.
WITH: dict[tuple[str, Any], dict[str, dict[str, Any]] | None] = {
    ("data.pairing", "mos"): None,
    ("data.scaling", "season"): None,  # years of fields: tests/engine/data/test_anomalies.py
    ("data.scaling", "season_trend"): None,
    ("model.backbone", "unet"): {"model": {"upsampling": "pin"}},
    ("model.temporal", "stacked"): {"data": {"time_window": 3}},
    ("model.dropout_variant", "gaussian"): {"model": {"dropout_rate": 0.2}},
    ("model.dropout_variant", "spatial"): {"model": {"dropout_rate": 0.2}},
    ("model.dropout_variant", "mc_vanilla"): {"model": {"dropout_rate": 0.2, "members": 2}},
    ("model.dropout_variant", "mc_gaussian"): {"model": {"dropout_rate": 0.2, "members": 2}},
    ("training.loss", "crps"): {"model": {"noise": 2, "members": 2}},
    ("training.loss", "bernoulli_gamma"): {"training": {"learning_rate": 1e-4}},  # it moves 280 K by shares of them
    ("model.dropout_variant", "mc_spatial"): {"model": {"dropout_rate": 0.2, "members": 2}},
}


def is_tried_in_a_graph(combination: Combination, learning: str) -> bool:
    """Flows of two networks alone: the loop of their draw is the same for all."""
    return combination in [*IN_GRAPHS, ANY_SCALE[0]] and (
        learning not in FLOWS or str(combination) in ("unet-pin", "resnet-spc-recurrent")
    )


def values() -> Iterator[tuple[str, Any]]:
    """Each value of each choice and switch that isn't its default."""
    for section in OPTIONS:
        for name, option in SECTIONS[section].declared().items():
            objects = (
                option.objects if isinstance(option, Choice) else [False, True] if isinstance(option, Flag) else []
            )
            yield from ((f"{section}.{name}", value) for value in objects if value != option.default)


VALUES = sorted((path, value) for path, value in values() if WITH.get((path, value), {}) is not None)


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def eager() -> Iterator[None]:
    """For a few steps of a tiny network a graph takes longer to make than it saves."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def spec_of(*changes: dict[str, dict[str, Any]]) -> Spec:
    plain: dict[str, Any] = {"version": 1, **{section: dict(options) for section, options in BASE.items()}}
    for change in changes:
        for section, options in change.items():
            plain[section] |= options
    return Spec.from_plain(plain)


def pairs_of(spec: Spec) -> Pairs:
    """16 steps of 8 × 10 cells, of which 8 train in 2 batches of 4, with a predictor and a static variable."""
    hr = waves(16, 8, 10)
    hr[:, 2:4, 4:6] = np.nan
    predictor = waves(16, 4, 5, seed=1)
    pairs = make_pairs(hr, predictors=[predictor], static=[waves(1, 8, 10)[0]], interpolation=spec.data.interpolation)
    if spec.data.stations:
        values = np.stack([hr[:, 1, 1] + 3, hr[:, 6, 8] - 2], axis=1)
        pairs = dataclasses.replace(pairs, stations=series_of(values, [1.5, 6.5], [1.5, 8.5]))
    return pairs


def trained_and_loaded(spec: Spec, store: Store) -> None:
    """The engine_run of a run on pairs in memory: the loaded network predicts what the trained one does."""
    assembly.make_reproducible(spec)
    pairs = pairs_of(spec)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    run, trained, loaded = store.create(spec, {}), {}, assembly.build_network(spec, pairs, normalizer)
    for number in spec.trainings:
        network = assembly.build_network(spec.of_network(number), pairs, normalizer)
        training = engine_run.prepare_training(run, ALONE, network, pairs, normalizer, number, trained=trained)
        before = [variable.numpy() for variable in network.trainable_variables]
        assert training.run()
        assert training.step.optimizer.iterations == 2
        after = network.trainable_variables
        assert any(np.any(old != new.numpy()) for old, new in zip(before, after, strict=True))
        trained[number] = network
    restore_best_weights(loaded, run)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    inputs, arrays = samples.read(np.arange(len(samples)))
    fields, again = (Downscaler.of([each], spec, samples).fields(samples, inputs) for each in (network, loaded))
    for name, field in fields.items():
        np.testing.assert_array_equal(field, again[name], err_msg=name)
        assert field.shape == arrays.hr.shape
        np.testing.assert_array_equal(np.isnan(field), np.isnan(arrays.hr))
    assert math.isfinite(training.position.best)
    assert np.nanmax(np.abs(fields["downscaled"] - arrays.hr)) < 30  # K; the waves are 2.5 K high


@pytest.fixture
def few_values_of_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_inputs, "MIN_VALUES", 3)


def spec_of_network(combination: Combination, learning: str, *changes: dict[str, dict[str, Any]]) -> Spec:
    window = {"data": {"time_window": combination.window}}
    spec = spec_of(window, {"model": combination.model, "training": {"learning": learning}}, *changes)
    assert spec.is_recurrent == (combination.window > 1)
    return spec


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("combination", "learning"), LEARNED, ids=str)
def test_every_network_is_trained_saved_loaded_and_predicted_with(combination, learning, tmp_path):
    trained_and_loaded(spec_of_network(combination, learning), Store(tmp_path))


@pytest.mark.usefixtures("eager", "few_values_of_stations")
@pytest.mark.parametrize(("combination", "learning"), WITH_STATIONS, ids=str)
def test_networks_learn_from_stations(combination, learning, tmp_path):
    trained_and_loaded(spec_of_network(combination, learning, STATIONS), Store(tmp_path))


@pytest.mark.usefixtures("eager", "few_values_of_stations")
@pytest.mark.parametrize(
    ("combination", "learning"),
    [*((each, "supervised") for each in [*IN_GRAPHS, *ANY_SCALE]), *((IN_GRAPHS[0], flow) for flow in FLOWS)],
    ids=str,
)
def test_a_training_stopped_within_an_epoch_ends_with_the_same_weights(combination, learning, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FIRST_CHUNK", 1)  # look up after every step
    monkeypatch.setattr(loop, "CHUNK_S", 0.0)
    learned = {"epochs": 2, "ema": 0.9, "loss": "mae", "learning": learning}
    window = {"data": {"time_window": combination.window}}
    of_model = {"model": {**combination.model, "dropout_rate": 0.2}, "training": learned}
    spec = spec_of(window, of_model, STATIONS if combination is ANY_SCALE[1] else {})
    pairs = pairs_of(spec)
    normalizer = fit_normalizer(pairs, spec.data.scaling)

    def train(run: Run, stop_after: int) -> tuple[bool, str]:
        stop, trained = StopAfter(stop_after), {}
        for number in spec.trainings:
            assembly.make_reproducible(spec.of_network(number))
            network = assembly.build_network(spec.of_network(number), pairs, normalizer)
            training = engine_run.prepare_training(run, ALONE, network, pairs, normalizer, number, stop, trained)
            if not training.run():
                break
            trained[number] = network
        return len(trained) == len(spec.trainings), checkpoints.fingerprint(network.variables)

    whole, stopped = (Store(tmp_path).create(spec, {}) for _ in range(2))
    for asked in range(len(spec.trainings)):  # within the second of two epochs of 2 steps, of each network
        assert train(stopped, 3 + asked)[0] is False
    assert train(stopped, 99) == train(whole, 99)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("combination", "source"), DRAWN)
def test_networks_learn_members(combination, source, tmp_path):
    """At LR, at HR, and recurrent: in bfloat16, with patches, static variables and a constraint."""
    others = {
        "data": {"time_window": combination.window, "patch_size": 4},
        "model": {**combination.model, "constraint": "additive"},
        "training": {"precision": "mixed_bfloat16"},
    }
    trained_and_loaded(spec_of(source, others), Store(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(("combination", "learning"), [each for each in LEARNED if is_tried_in_a_graph(*each)], ids=str)
def test_every_backbone_is_trained_in_a_graph(combination, learning, tmp_path):
    trained_and_loaded(spec_of_network(combination, learning), Store(tmp_path))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("path", "value"), VALUES)
def test_every_value_is_trained_saved_loaded_and_predicted_with(path, value, tmp_path):
    section, name = path.split(".")
    trained_and_loaded(spec_of({section: {name: value}}, WITH.get((path, value)) or {}), Store(tmp_path))
