"""Estimates of `check`: grids, samples, weights and memory, as the run will have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.check import shape_of, summarize
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples
from engine.errors import GridError
from engine.memory_estimate import BASE_BYTES
from engine.models.architecture import count_parameters
from engine.models.second_network import second_network
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.memory_budget import activation_bytes, prediction_bytes
from tests.engine.data.mock import steps, write_field

MODEL = {"n_filters": 8, "n_blocks": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_field(tmp_path / "hr.nc", ny=9, nx=12, times=steps(20, start="2001-01-01T06"))
    write_field(tmp_path / "p.nc", ny=9, nx=12, times=steps(20, start="2001-01-01T06"), seed=1)
    write_field(tmp_path / "dem.nc", ny=8, nx=12, times=0, units="m")
    return tmp_path


def spec(folder: Path, **sections: dict[str, Any]) -> Spec:
    data = {"target": {"path": "hr.nc"}, "scale": 4, "split": {"train": 0.5, "validation": 0.2, "test": 0.3}}
    plain = {"version": 1, **sections, "data": data | sections.get("data", {}), "model": sections.get("model", MODEL)}
    return Spec.from_plain(plain, folder)


def test_a_summary_by_hand(folder):
    summary = summarize(spec(folder))
    assert {name: grid.shape for name, grid in summary.grids.items()} == {"hr": (8, 12), "lr": (2, 3)}
    assert summary.samples == {"train": 10, "validation": 4, "test": 6}
    assert summary.periods["train"] == ["2001-01-01T06:00", "2001-01-10T06:00"]
    assert summary.periods["validation"] == ["2001-01-11T06:00", "2001-01-14T06:00"]
    assert summary.periods["test"] == ["2001-01-15T06:00", "2001-01-20T06:00"]
    # entry 1 → 8, one block 8 → 8 → 8, two stages 8 → 16 and 4 → 16, tail 4 → 4, output 4 → 1, 96 cells × (4 + 1)
    assert summary.blocks == {
        "entry": 10 * 8,
        "recurrence": 0,
        "backbone": 2 * 73 * 8,
        "upsampling": 73 * 16 + 37 * 16,
        "tail": 37 * 4,
        "output": 37,
        "localized": 96 * 5,
    }
    assert summary.parameters == 80 + 1168 + 1760 + 148 + 37 + 480
    assert summary.notes == ["HR cropped from 9 × 12 to 8 × 12 cells, multiples of scale 4"]


def test_what_is_seen_in_km(folder):
    # LR cells of 4 × 0.5°, the middle row at 42.75 °N: 222 km by 222 cos 42.75° = 163 km.
    network = summarize(spec(folder)).network
    by_hand = np.sqrt(np.deg2rad(2) * np.deg2rad(2) * np.cos(np.deg2rad(42.75))) * 6371.0088
    assert [part.sees for part in network[:3]] == [1, 3, 7]  # inputs, entry, two convolutions of a block
    assert network[2].sees_km == pytest.approx(7 * by_hand, rel=1e-3)
    attended = summarize(spec(folder, model={"attention": True})).network
    assert (attended[-1].sees, attended[-1].sees_km) == (None, None)


def test_memory_by_hand(folder):
    summary = summarize(spec(folder, training={"batch_size": 3}))
    fields = 4 * (2 * 10 + 4) * (96 + 6)  # float32, training twice and validation, HR and one channel at LR
    weights = 4 * 4 * summary.parameters  # themselves, gradients, two moments
    activations = 2 * activation_bytes(spec(folder).model, Shape(2, 3, 1, 0, 4), 3)
    baselines = 10 * 4 * (2 * 96 + 3 * 6) + 3000 * 96  # training steps: HR, interpolated and LR; quantiles and sums
    assert weights + activations < baselines
    assert summary.memory_bytes == BASE_BYTES + fields + baselines
    training = {"batch_size": 64}
    activations = 2 * activation_bytes(spec(folder).model, Shape(2, 3, 1, 0, 4), 64)
    assert summarize(spec(folder, training=training)).memory_bytes == BASE_BYTES + fields + weights + activations
    whole = summarize(spec(folder, training=training, model={"localized": False}))
    patches = summarize(spec(folder, training=training, model={"localized": False}, data={"patch_size": 8}))
    assert patches.memory_bytes < whole.memory_bytes


def test_the_discriminator_of_adversarial_training_is_counted_apart(folder):
    plain, adversarial = (
        summarize(spec(folder, training={"learning": word})) for word in ("supervised", "adversarial")
    )
    assert plain.discriminator == 0
    # 1 → 16, 4 × 4 of 16 → 32 in one stride, with one input channel 33 → 32, two blocks of two, to a logit
    assert adversarial.discriminator == 160 + (16 * 16 + 1) * 32 + (9 * 33 + 1) * 32 + 4 * 289 * 32 + 289
    assert adversarial.parameters == plain.parameters
    # Weights, gradients and moments; activations of 16 real and 16 downscaled fields on 6 LR cells: of 16 HR cells each
    # two of 16 filters and five fields, 4 + 2 × 5 of 32 filters at LR, and the input twice.
    activations = 4 * 2 * 16 * 6 * (16 * (2 * 16 + 5) + 32 * 14 + 2)
    assert adversarial.memory_bytes - plain.memory_bytes == 16 * adversarial.discriminator + 2 * activations
    assert "besides    55,201 parameters of a discriminator" in adversarial.text()
    assert "discriminator" not in plain.text()


def test_the_network_of_the_velocity_is_counted_apart(folder):
    plain, flow = (summarize(spec(folder, training={"learning": word})) for word in ("supervised", "flow-matching"))
    assert (plain.velocity, flow.parameters) == (0, plain.parameters)
    options, shape = second_network(spec(folder).model, Shape(2, 3, 1, 0, 4), "flow-matching")
    assert flow.velocity == sum(count_parameters(options, shape).values())
    names = [part.name for part in plain.network]
    assert [(part.network, part.name) for part in flow.network] == [
        *(("", name) for name in names),
        *(("velocity", name) for name in names if name != "field"),
    ]
    assert "\nvelocity entry " in flow.text()
    assert f"besides    {flow.velocity:,} parameters of the network of the velocity" in flow.text()
    # Weights, gradients and moments of both; activations of the second, and the first's in prediction.
    training = {"learning": "flow-matching", "batch_size": 64}
    activations = activation_bytes(options, shape, 64) + prediction_bytes(spec(folder).model, Shape(2, 3, 1, 0, 4), 64)
    data = 4 * (2 * 10 + 4) * (96 + 6)
    expected = BASE_BYTES + data + 16 * (flow.parameters + flow.velocity) + 2 * activations
    assert summarize(spec(folder, training=training)).memory_bytes == expected


@pytest.mark.parametrize(
    ("data", "channels", "static", "window", "fields"),
    [
        ({}, 1, 0, 1, 1),
        ({"time_window": 3}, 3, 0, 3, 1),
        ({"time_features": "hour"}, 3, 0, 1, 1),
        ({"time_features": "both", "predictors": [{"path": "p.nc"}], "time_window": 3}, 10, 0, 3, 2),
        ({"static": [{"path": "dem.nc"}], "predictors": [{"path": "p.nc"}]}, 2, 1, 1, 2),
    ],
)
def test_the_network_is_foreseen_as_it_will_be(folder, data, channels, static, window, fields):
    chosen = spec(folder, data=data)
    pairs = pair(chosen.data)
    assert shape_of(chosen, pairs) == Shape(2, 3, channels, static, 4, window, fields)
    samples = Samples.of(chosen, pairs, fit_normalizer(pairs, "standard"), pairs.parts.train)
    inputs, _ = samples.load_all()
    assert (inputs.shape[-1], samples.static.shape[-1], samples.inputs.fields) == (channels, static, fields)


def test_the_vectors_of_message_passing_are_foreseen(folder):
    chosen = spec(folder, model={"backbone": "graph"}, data={"time_window": 3, "time_features": "hour"})
    pairs = pair(chosen.data)
    samples = Samples.of(chosen, pairs, fit_normalizer(pairs, "standard"), pairs.parts.train)
    assert shape_of(chosen, pairs) == Shape.of(samples) == Shape(2, 3, 3 + 4 + 2, 0, 4, 3, vectors=4)


def test_the_summary_as_text_and_as_json(folder):
    summary = summarize(spec(folder))
    lines = summary.text().splitlines()
    assert lines[0].startswith("HR grid    8 × 12 cells, lat 40 to 43.5, lon 0 to 5.5")
    assert lines[2] == "values     data.target: 276.5 to 284 K"
    assert lines[3].startswith("values     LR: 27")
    assert lines[4] == "train      10 samples, 2001-01-01T06:00 to 2001-01-10T06:00"
    assert lines[7].startswith("parameters 3,673: entry 80, backbone 1,168, ")
    assert lines[8] == "memory     about 0.9 GiB for each process"
    table = [" ".join(line.split()) for line in lines[9:-1]]
    assert table[0] == "network y × x × channels parameters sees, LR cells"
    assert table[1].startswith("inputs 1 channel 2 × 3 × 1 0 1 (191 km)")
    assert table[3].startswith("block residual block 2 × 3 × 8 1,168 7 (")
    assert [line.split()[0] for line in table[4:]] == ["stage", "stage", "tail", "output", "localized", "field"]
    assert lines[-1].startswith("note: HR cropped")
    assert json.loads(json.dumps(summary.plain()))["parameters"] == 3673


def test_a_scaled_learning_rate_is_told(folder):
    def notes(**options: object) -> list[str]:
        return summarize(spec(folder, training={"learning_rate": 0.002, **options}, launch={"processes": 4})).notes

    assert notes(learning_rate_scaling="linear")[-1] == (
        "training.learning_rate_scaling linear: with 4 processes the learning rate rises to 0.008, not 0.002"
    )
    assert "the learning rate rises to 0.004" in notes(learning_rate_scaling="sqrt")[-1]
    assert not any("learning_rate_scaling" in note for note in notes())


def test_a_patch_larger_than_hr_is_refused(folder):
    with pytest.raises(GridError, match="data.patch_size is 12, but HR has 8 × 12 cells: expected at most 8, or 0"):
        summarize(spec(folder, data={"patch_size": 12}, model={"localized": False}))
