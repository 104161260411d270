"""Which networks can begin with the weights of which others."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.models.warm_start import incompatibilities
from engine.spec import ModelOptions
from engine.training import checkpoints

SHAPE = Shape(4, 6, 2, 1, 2)
PLAIN = Output("bicubic", 1.0, 0.0, "linear")


def options(**given: Any) -> ModelOptions:
    return ModelOptions(**{"n_filters": 6, "n_blocks": 1, "localized": False, **given})


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [
        ({}, SHAPE, []),
        ({}, Shape(9, 5, 2, 1, 2), []),  # another region, a finer grid
        ({"activation": "elu", "dropout_rate": 0.3, "residual": False, "output_activation": "relu"}, SHAPE, []),
        ({"localized": True}, SHAPE, []),  # its localized block begins at zero
        ({"n_filters": 8}, SHAPE, ["model.n_filters is 8, there 6"]),
        ({"n_blocks": 2, "attention": True}, SHAPE, ["model.n_blocks is 2, there 1", "model.attention is True, there"]),
        ({"backbone": "convnet"}, SHAPE, ["model.backbone is convnet, there resnet"]),
        (
            {"backbone": "unet", "upsampling": "pin"},
            SHAPE,
            ["model.backbone is unet, there resnet", "model.upsampling is pin, there spc"],
        ),
        ({"normalization": "batch"}, SHAPE, ["model.normalization is batch, there none"]),
        ({}, Shape(4, 6, 2, 1, 3), ["data.scale is 3, there 2"]),
        ({}, Shape(4, 6, 4, 1, 2), ["the inputs have 4 channels, there 2 (data.predictors"]),
        ({}, Shape(4, 6, 2, 0, 2), ["data.static has 0 variables, there 1"]),
    ],
)
def test_what_keeps_a_network_from_starting(given, shape, expected):
    found = incompatibilities(options(**given), shape, options(), SHAPE)
    assert len(found) == len(expected)
    for words, start in zip(found, expected, strict=True):
        assert words.startswith(start)


def test_batch_and_layer_normalisation_have_as_many_weights_but_not_the_same():
    assert incompatibilities(options(normalization="batch"), SHAPE, options(normalization="layer"), SHAPE)


def test_dropout_of_any_kind_may_come_and_go():
    drawn = options(dropout_rate=0.3, dropout_variant="mc_vanilla", members=4)
    assert incompatibilities(drawn, SHAPE, options(), SHAPE) == incompatibilities(options(), SHAPE, drawn, SHAPE) == []


def test_recurrent_and_stacked_networks_have_other_weights():
    window = Shape(4, 6, 6, 0, 2, window=3, fields=2)
    found = incompatibilities(options(temporal="stacked"), window, options(), window)
    assert found == ["model.temporal is stacked, there recurrent"]
    # Without a window they are the same.
    assert incompatibilities(options(temporal="stacked"), SHAPE, options(), SHAPE) == []


def test_the_localized_block_says_why_not():
    local = options(localized=True)
    assert incompatibilities(local, SHAPE, local, SHAPE) == []
    assert incompatibilities(options(), Shape(5, 6, 2, 1, 2), local, SHAPE) == []
    assert incompatibilities(local, Shape(5, 6, 2, 1, 2), local, SHAPE) == [
        "HR has 10 × 12 cells, there 8 × 12, and the localized block has weights of its own for each cell (set "
        "model.localized=false, or use the same grid)"
    ]


@pytest.mark.parametrize(
    ("start", "given", "shape"),
    [
        ({}, {"dropout_rate": 0.3}, Shape(5, 5, 2, 1, 2)),
        ({"localized": True, "dropout_rate": 0.3}, {}, Shape(5, 5, 2, 1, 2)),
        ({}, {"localized": True}, SHAPE),
        ({"normalization": "batch"}, {"normalization": "batch", "activation": "tanh"}, SHAPE),
    ],
)
def test_what_fits_on_paper_fits_in_fact(tmp_path, start, given, shape):
    first, second = build(options(**start), SHAPE, PLAIN), build(options(**given), shape, PLAIN)
    for variable in first.variables:
        if variable.dtype == "float32":
            variable.assign(variable + 0.5)
    learned_arrays = checkpoints.arrays_of(first.variables)
    random = [v.numpy().tolist() for v in second.variables if v.dtype != "float32"]
    checkpoints.import_checkpoint(second.variables, learned_arrays, tmp_path, optional="localized/")
    learned = {v.path: v.numpy() for v in first.variables}
    for variable in second.variables:
        if variable.dtype == "float32" and not variable.path.startswith("localized/"):
            assert (variable.numpy() == learned[variable.path]).all()
    assert [v.numpy().tolist() for v in second.variables if v.dtype != "float32"] == random


def test_what_does_not_fit_in_fact_is_told(tmp_path):
    first, second = (build(options(n_filters=n), SHAPE, PLAIN) for n in (6, 8))
    learned_arrays = checkpoints.arrays_of(first.variables)
    with pytest.raises(
        checkpoints.CheckpointError, match=r"has weights of shape \(3, 3, 3, 6\) for entry/kernel of shape"
    ):
        checkpoints.import_checkpoint(second.variables, learned_arrays, tmp_path, optional="localized/")
    other = build(options(n_blocks=2), SHAPE, PLAIN)
    with pytest.raises(checkpoints.CheckpointError, match="has no weights for block2_first/kernel of shape"):
        checkpoints.import_checkpoint(other.variables, learned_arrays, tmp_path, optional="localized/")
