"""Two ranks under a real horovodrun do what one process with twice the batch does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.launch.local import ROOT, environment
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.data.mock import make_field
from tests.engine.launch.engine_processes import TIMEOUT_S, CommandLine, no_processes_left, weights_of

pytestmark = pytest.mark.slow

BATCH = 4  # samples per rank
STEPS = 40
PATCH = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def write_data(folder: Path) -> Path:
    """40 days of 12 × 16 cells; from none to 3 in 4 cells are missing, other ones each day."""
    dataset = make_field(ny=12, nx=16, times=STEPS)
    rng = np.random.default_rng(1)
    gaps = rng.random((STEPS, 12, 16)) < 0.75 * rng.permutation(STEPS)[:, None, None] / STEPS
    path = folder / "hr.nc"
    dataset.assign(t2m=dataset["t2m"].where(~gaps).assign_attrs(units="K")).to_netcdf(path)
    return path


def write_spec(folder: Path, hr: Path, batch_size: int, **what: dict[str, object]) -> Path:
    training = {"batch_size": batch_size, "loss": "mse", "epochs": 6, "warm_up": 0.0, "learning_rate": 1e-3, "ema": 0.5}
    training |= what.get("training", {})
    spec = {
        "version": 1,
        "data": {"target": {"path": str(hr)}, "scale": 2, **what.get("data", {})},
        # not residual: its output starts at zero, and with it most gradients
        "model": {"n_filters": 4, "n_blocks": 1, "residual": False, **what.get("model", {})},
        "training": training,
    }
    path = folder / f"batch-{batch_size}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def run_ranks(specs: Sequence[Path], folder: Path, ranks: int) -> list[list[dict[str, np.ndarray]]]:
    """What each rank wrote, for each spec."""
    folders = [folder / str(number) for number in range(len(specs))]
    for each in folders:
        each.mkdir(parents=True)
    words = [str(word) for pair in zip(specs, folders, strict=True) for word in pair]
    run_script(folder, ranks, "ranks.py", *words)
    return [[dict(np.load(each / f"rank-{rank}.npz", allow_pickle=False)) for rank in range(ranks)] for each in folders]


def run_script(folder: Path, ranks: int, name: str, *words: str) -> None:
    """A script of this folder, alone or under horovodrun."""
    script = [sys.executable, str(Path(__file__).with_name(name)), *words]
    horovodrun = [str(Path(sys.executable).with_name("horovodrun")), "-np", str(ranks), "--gloo"]
    command = [*horovodrun, *script] if ranks > 1 else script
    outer = environment({}, ranks)
    with no_processes_left(folder):
        ended = subprocess.run(command, cwd=ROOT, env=outer, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr


Ranks = tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]
WHAT = {
    "whole fields": {},
    "patches, so many steps": {
        "data": {"patch_size": PATCH},
        "model": {"localized": False},
        "training": {"steps_per_epoch": 3},
    },
    "adversarial": {"training": {"learning": "adversarial", "adversarial_weight": 0.5}},
    "windows": {"model": {"backbone": "swin"}},
    "waves": {"model": {"backbone": "fno"}},
    "messages": {"model": {"backbone": "graph"}},
    "any scale": {"model": {"upsampling": "implicit", "localized": False, "scales": [1.5, 3]}},
}


@pytest.fixture(scope="module")
def ranks_of_all(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ranks]:
    """For each of WHAT, one process with batch 2B, and two with batch B."""
    folder = tmp_path_factory.mktemp("ranks")
    places = [folder / str(number) for number in range(len(WHAT))]
    for place in places:
        place.mkdir()
    ones, twos = (
        run_ranks(
            [write_spec(place, data, batch, **what) for place, what in zip(places, WHAT.values(), strict=True)],
            folder / f"{ranks} ranks",
            ranks,
        )
        for batch, ranks in ((2 * BATCH, 1), (BATCH, 2))
    )
    return {name: (one, two) for name, (one,), two in zip(WHAT, ones, twos, strict=True)}


@pytest.fixture(params=WHAT)
def ranks(request: pytest.FixtureRequest, ranks_of_all: dict[str, Ranks]) -> Ranks:
    return ranks_of_all[request.param]


def test_two_ranks_see_together_what_one_process_sees(ranks):
    one, two = ranks
    # 28 training days (0.7 of 40) give 3 whole batches of 8 an epoch, as many as are asked for; two epochs.
    assert len(one["hr"]) == 6
    for name in ("inputs", "hr"):
        assert two[0][name].shape[1] == BATCH
        np.testing.assert_array_equal(np.concatenate([rank[name] for rank in two], axis=1), one[name])
    assert not np.array_equal(one["hr"][:3], one["hr"][3:], equal_nan=True)  # another order in another epoch


def test_the_gradient_of_two_ranks_is_that_of_one_process_with_twice_the_batch(ranks):
    assert_same_gradient(*ranks)


def assert_same_gradient(one: dict[str, np.ndarray], two: list[dict[str, np.ndarray]]) -> None:
    there = [np.isfinite(rank["hr"][0]).sum() for rank in two]
    assert abs(there[0] - there[1]) > 0.1 * sum(there) / 2  # else a mean of means would do
    np.testing.assert_array_equal(two[0]["gradient"], two[1]["gradient"])
    scale = np.abs(one["gradient"]).max()
    np.testing.assert_allclose(two[0]["gradient"], one["gradient"], rtol=1e-4, atol=1e-6 * scale)
    assert (np.abs(one["gradient"]) > 1e-3 * scale).mean() > 0.3
    np.testing.assert_allclose(np.mean([rank["loss"] for rank in two], axis=0), one["loss"], rtol=1e-5)


def test_a_training_with_two_ranks_ends_with_the_same_weights_on_both(data, tmp_path):
    with no_processes_left(tmp_path):
        engine = CommandLine(tmp_path / "runs")
        two = Run(Path(engine.json("train", str(write_spec(tmp_path, data, BATCH)), "--processes", "2")["folder"]))
        one = Run(Path(engine.json("train", str(write_spec(tmp_path, data, 2 * BATCH)))["folder"]))
    beats = two.heartbeats()
    assert [(beat.rank, beat.size, beat.end) for beat in beats] == [(0, 2, "done"), (1, 2, "done")]
    assert beats[0].weights == beats[1].weights
    assert beats[0].pid != beats[1].pid
    last, expected = two.latest(), one.latest()
    assert (last["epoch"], last["steps"]) == (expected["epoch"], expected["steps"]) == (6, 3)
    # The same steps but for rounding: validation over the same days, each rank its share of them.
    assert last["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-3)
    assert last["val_rmse"] == pytest.approx(expected["val_rmse"], rel=1e-3)
    first = one.progress()[0][0]
    assert abs(first["val_loss"] - expected["val_loss"]) > 0.01 * expected["val_loss"]  # it did learn


def test_two_ranks_stopped_within_an_epoch_end_with_the_weights_of_two_that_were_not(data, tmp_path):
    """Each rank's running means of batch normalisation, which within an epoch are its own, come back."""
    spec = Spec.read(write_spec(tmp_path, data, BATCH, model={"normalization": "batch", "dropout_rate": 0.1}))
    whole, stopped = (Store(tmp_path / "runs").create(spec, {}) for _ in range(2))
    run_script(tmp_path, 2, "interrupted.py", str(whole.folder), str(stopped.folder), "5")  # of 3 steps an epoch
    expected, found = weights_of(whole), weights_of(stopped)
    assert "moving_mean" in " ".join(expected)
    pairs = zip(expected.items(), found.values(), strict=True)  # layers get other names when made again
    assert [name for (name, array), other in pairs if array.tobytes() != other.tobytes()] == []
