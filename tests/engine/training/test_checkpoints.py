"""Checkpoints: the same to the last bit, and damage reported in words."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from engine.errors import CheckpointError
from engine.training import checkpoints

GROUPS = {
    "weights": {"0000 a/kernel": np.float32([[1, math.pi], [np.nan, -0.0]]), "0001 a/b/bias": np.float32(2)},
    "optimizer": {"0000 iteration": np.int64(2**40), "0001 seed": np.uint32([1, 2])},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.npz"


def network(*widths: int) -> keras.Model:
    return keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(width) for width in widths)])


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    return str(caught.value)


def test_there_and_back(path):
    checkpoints.save(path, GROUPS, {"epoch": 3, "best": None, "loss": 0.1})
    groups, state = checkpoints.load(path)
    assert state == {"epoch": 3, "best": None, "loss": 0.1}
    assert {name: list(arrays) for name, arrays in groups.items()} == {name: list(a) for name, a in GROUPS.items()}
    for name, arrays in GROUPS.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(groups[name][key], array, strict=True)
    assert [p.name for p in path.parent.iterdir()] == ["last.npz"]


def test_a_group_may_be_empty(path):
    checkpoints.save(path, {"weights": {}, "best": GROUPS["weights"]}, {})
    groups, _ = checkpoints.load(path)
    assert list(groups) == ["best"]


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -30])
def test_a_file_cut_off_is_damaged(path, kept):
    checkpoints.save(path, GROUPS, {"epoch": 3})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert refusal(path).startswith(f"{path} is damaged (")
    assert refusal(path).endswith("start the run anew, or give another run")


def test_flipped_bits_are_damage(path):
    checkpoints.save(path, GROUPS, {"epoch": 3})
    content = bytearray(path.read_bytes())
    at = content.index(np.float32(math.pi).tobytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    assert "damaged (Bad CRC-32" in refusal(path)


def test_what_is_no_checkpoint_is_damaged(path):
    path.write_bytes(b"\x93NUMPY not really")
    assert "is damaged" in refusal(path)
    np.savez(path, a=np.zeros(3))  # without a state
    assert "is damaged" in refusal(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))  # one array, not an archive
    assert "is damaged" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state.npy", "text")
    assert "is damaged" in refusal(path)
    assert "is damaged" in refusal(path.with_name("none.npz"))


def test_pickles_are_neither_written_nor_read(path):
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (path.with_name("sprung"),))

    np.savez(path, state=np.array('{"epoch": 1}'), **{"weights/a": np.array([Trap()], dtype=object)})
    assert "is damaged (Object arrays cannot be loaded when allow_pickle=False)" in refusal(path)
    assert not path.with_name("sprung").exists()
    checkpoints.save(path, GROUPS, {"epoch": 1})
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def test_variables_get_their_values_back(path):
    first, second = network(3, 3), network(3, 3)
    checkpoints.save(path, {"weights": checkpoints.arrays_of(first.variables)}, {})
    checkpoints.restore(second.variables, checkpoints.load(path)[0]["weights"], path)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_than_ten_variables_keep_their_order(path):
    first, second = network(*[2] * 8), network(*[2] * 8)
    assert len(checkpoints.arrays_of(first.variables)) == 16
    checkpoints.save(path, {"weights": checkpoints.arrays_of(first.variables)}, {})
    checkpoints.restore(second.variables, checkpoints.load(path)[0]["weights"], path)
    assert checkpoints.fingerprint(first.variables) == checkpoints.fingerprint(second.variables)


@pytest.mark.parametrize("widths", [(3,), (3, 4), (3, 3, 3)], ids=str)
def test_weights_of_another_network_do_not_fit(path, widths):
    arrays = checkpoints.arrays_of(network(3, 3).variables)
    other = network(*widths)
    before = checkpoints.fingerprint(other.variables)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.restore(other.variables, arrays, path)
    assert str(caught.value) == (
        f"{path} holds 4 arrays that don't fit this network of {2 * len(widths)}: use the spec it was trained with, "
        "or, with training.start_from, the same data.scale, grid and model options"
    )
    assert checkpoints.fingerprint(other.variables) == before


def test_fingerprints_tell_the_smallest_change():
    model = network(3)
    before = checkpoints.fingerprint(model.variables)
    assert checkpoints.fingerprint(model.variables) == before
    kernel = model.variables[0].numpy()
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(2))
    model.variables[0].assign(kernel)
    assert checkpoints.fingerprint(model.variables) != before
