"""Fine-tuning: a run on part of the grid is a better start for the whole than new weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import run as engine_run
from engine.check import summarize
from engine.cli import main
from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.pairs import pair
from engine.errors import SpecError
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import assembly
from engine.training.loop import Training
from engine.training.workers import Workers
from tests.engine.data.mock import make_field

ALONE = Workers(0, 1)
WEST = {"lat": [39.0, 48.0], "lon": [-1.0, 5.8]}
MODEL = {"n_filters": 8, "n_blocks": 1, "localized": False}


@dataclass(frozen=True)
class Bench:
    folder: Path

    @property
    def store(self) -> Store:
        return Store(self.folder / "runs")

    def spec(self, data: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **training: Any) -> Spec:
        plain = {
            "version": 1,
            "data": {"target": {"path": "hr.nc"}, "scale": 2, **(data or {})},
            "model": {**MODEL, **(model or {})},
            "training": {"epochs": 12, "batch_size": 4, "learning_rate": 0.01, **training},
        }
        return Spec.from_plain(plain, self.folder)

    def training(self, spec: Spec) -> tuple[Run, Training]:
        assembly.make_reproducible(spec)
        run, pairs = self.store.create(spec, {}), pair(spec.data)
        normalizer = engine_run.share_normalizer(run, ALONE, pairs)
        network = assembly.build_network(spec, pairs, normalizer)
        return run, engine_run.prepare_training(run, ALONE, network, pairs, normalizer)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """16 × 24 cells, warmer towards the east; within each LR cell the same pattern everywhere, to be learned."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    dataset = make_field(ny=16, nx=24, times=48)
    pattern = np.tile([[1.0, -1.0], [-2.0, 2.0]], (8, 12))
    field = (dataset["t2m"] + pattern + 2 * dataset["lon"]).assign_attrs(dataset["t2m"].attrs)
    dataset.assign(t2m=field).to_netcdf(bench.folder / "hr.nc")
    gap = (field["lon"] > 10) & (field["lat"] > 46)
    dataset.assign(t2m=field.where(~gap).assign_attrs(field.attrs)).to_netcdf(bench.folder / "gappy.nc")
    return bench


@pytest.fixture(scope="module")
def trained(bench: Bench) -> Run:
    """A run trained on the western part only."""
    run, training = bench.training(bench.spec({"region": WEST}))
    assert training.run() is True
    return run


def test_what_was_learned_on_half_of_the_grid_helps_on_the_whole(bench, trained):
    _, anew = bench.training(bench.spec())
    run, tuned = bench.training(bench.spec(start_from=trained.id))
    (new_loss, new_rmse), (loss, rmse) = anew.validation.measure(), tuned.validation.measure()
    assert loss < 0.6 * new_loss
    assert rmse < 0.6 * new_rmse
    own, there = Normalizer.load(run.normalizer_file), Normalizer.load(trained.normalizer_file)
    pairs = pair(run.spec.data)
    assert own.target == fit_normalizer(pairs, "standard").target != there.target
    assert own.target.offset > there.target.offset + 5  # the west is colder


def test_a_localized_block_begins_at_zero_or_is_left_behind(bench, trained):
    _, plain = bench.training(bench.spec(start_from=trained.id))
    _, local = bench.training(bench.spec(model={"localized": True}, start_from=trained.id))
    assert local.validation.measure() == pytest.approx(plain.validation.measure(), rel=1e-4)


def test_where_lr_has_gaps_the_network_stays_as_it_is(bench, trained):
    """The run on the west saw none, so that its network has no channel that tells of them."""
    run, tuned = bench.training(bench.spec({"target": {"path": "gappy.nc"}}, start_from=trained.id))
    assert fit_normalizer(pair(run.spec.data), "standard").lr_has_gaps
    assert not Normalizer.load(run.normalizer_file).lr_has_gaps
    _, anew = bench.training(bench.spec({"target": {"path": "gappy.nc"}}))
    assert tuned.validation.measure()[0] < 0.7 * anew.validation.measure()[0]


def test_adversarial_training_may_start_from_supervised(bench, trained):
    _, tuned = bench.training(bench.spec(start_from=trained.id, learning="adversarial"))
    _, plain = bench.training(bench.spec(start_from=trained.id))
    assert tuned.validation.measure() == pytest.approx(plain.validation.measure(), rel=1e-6)


def test_flow_matching_draws_around_the_network_that_it_starts_from(bench, trained):
    _, plain = bench.training(bench.spec(start_from=trained.id))
    run, flow = bench.training(bench.spec(start_from=trained.id, learning="flow-matching", epochs=1))
    (_, rmse), (_, expected) = flow.validation.measure(), plain.validation.measure()
    assert rmse == pytest.approx(expected, rel=1e-6)
    assert flow.run() is True
    assert flow.validation.measure()[1] == rmse
    notes = summarize(run.spec, bench.store).notes
    assert notes[-1] == f"the network of the mean is that of {trained.id}, and isn't trained any more"
    _, tuned = bench.training(bench.spec(start_from=run.id, learning="flow-matching"))
    assert tuned.validation.measure() == pytest.approx(flow.validation.measure(), rel=1e-6)
    with pytest.raises(SpecError, match=f"training.start_from is {run.id}, which was trained by flow-matching, but "):
        summarize(bench.spec(start_from=run.id), bench.store)


def test_check_says_what_training_starts_from(bench, trained):
    notes = summarize(bench.spec(start_from=trained.id), bench.store).notes
    assert notes[-1] == f"training starts from the best weights of {trained.id}, with a normalizer of its own"


def test_check_says_that_a_localized_block_is_left_behind(bench, trained):
    (trained.folder / "spec.yaml").write_text(bench.spec({"region": WEST}, {"localized": True}).to_yaml())
    try:
        notes = summarize(bench.spec(start_from=trained.id), bench.store).notes
    finally:
        (trained.folder / "spec.yaml").write_text(bench.spec({"region": WEST}).to_yaml())
    assert notes[-1] == f"the localized block of {trained.id} is left behind"


@pytest.mark.parametrize(
    ("data", "model", "words"),
    [
        ({"scale": 4}, {}, "data.scale is 4, there 2"),
        (
            {"time_features": "hour"},
            {"n_filters": 4},
            "model.n_filters is 4, there 8; the inputs have 3 channels, there 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_training(bench, trained, data, model, words):
    with pytest.raises(SpecError) as caught:
        summarize(bench.spec(data, model, start_from=trained.id), bench.store)
    assert str(caught.value).startswith(f"training.start_from is {trained.id}, whose weights don't fit: {words}")
    assert str(caught.value).endswith("; use the same, or leave training.start_from empty")


@pytest.mark.parametrize("command", ["check", "train", "submit"])
def test_the_command_line_refuses_with_exit_code_2(bench, trained, tmp_path, capsys, command):
    path = tmp_path / "spec.yaml"
    path.write_text(bench.spec({"scale": 4}, start_from=trained.id).to_yaml())
    before = sorted(run.id for run in bench.store.runs())
    assert main([command, str(path), "--store", str(bench.store.folder), "--json"]) == 2
    assert "data.scale is 4, there 2" in json.loads(capsys.readouterr().out)["error"]
    assert sorted(run.id for run in bench.store.runs()) == before
