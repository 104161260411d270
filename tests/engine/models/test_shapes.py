"""Numbers of weights worked out on paper; the built network has as many (test_network.py)."""

from __future__ import annotations

import pytest

from engine.models.architecture import count_parameters
from engine.models.shapes import Shape
from engine.models.upsampling import hr_filters, stages
from engine.spec import ModelOptions
from engine.training.memory_budget import activation_bytes


def options(**given: object) -> ModelOptions:
    return ModelOptions(**{"backbone": "resnet", "upsampling": "spc", "n_filters": 8, "n_blocks": 1, **given})


def count(scale: int = 2, channels: int = 1, static: int = 0, window: int = 1, **given: object) -> dict[str, int]:
    return count_parameters(options(**{"localized": False, **given}), Shape(3, 4, channels, static, scale, window))


@pytest.mark.parametrize(
    ("scale", "factors"),
    [(2, [2]), (3, [3]), (4, [2, 2]), (5, [5]), (6, [2, 3]), (8, [2, 2, 2]), (12, [2, 2, 3]), (49, [7, 7]), (61, [61])],
)
def test_stages_are_the_prime_factors(scale, factors):
    assert stages(scale) == factors


def test_sides_at_hr():
    assert Shape(3, 4, 1, 0, 5).hr == (15, 20)


def test_filters_at_hr_are_half_as_many_but_at_least_four():
    assert [hr_filters(options(n_filters=n)) for n in (1, 8, 9, 32)] == [4, 4, 4, 16]


def test_a_plain_network():
    # A 3 × 3 convolution from a to b channels has (9 a + 1) b weights.
    assert count() == {
        "entry": (9 * 1 + 1) * 8,  # 80
        "recurrence": 0,
        "backbone": 2 * (9 * 8 + 1) * 8,  # 1168
        "upsampling": (9 * 8 + 1) * 4 * 4,  # 8 → 4 channels for each of 2 × 2 cells: 1168
        "tail": (9 * 4 + 1) * 4,  # 148
        "output": 9 * 4 + 1,  # 37
        "localized": 0,
    }
    assert sum(count().values()) == 2601


@pytest.mark.parametrize(
    ("scale", "weights"),
    [
        (2, 73 * 16),
        (3, 73 * 36),
        (4, 73 * 16 + 37 * 16),  # two stages: 8 → 4 × 2², 4 → 4 × 2²
        (5, 73 * 100),
        (6, 73 * 16 + 37 * 36),
        (8, 73 * 16 + 37 * 16 + 37 * 16),
    ],
)
def test_upsampling(scale, weights):
    assert count(scale)["upsampling"] == weights


@pytest.mark.parametrize(
    ("part", "given", "weights"),
    [
        ("entry", {"channels": 7}, (9 * 7 + 1) * 8),
        ("entry", {"channels": 2, "static": 3}, (9 * 5 + 1) * 8),
        ("tail", {"static": 3}, (9 * (4 + 3) + 1) * 4),
        ("backbone", {"n_blocks": 3}, 3 * 1168),
        ("backbone", {"n_blocks": 3, "normalization": "batch"}, 3 * (1168 + 2 * 16)),  # 8 gains, 8 shifts, twice
        ("backbone", {"normalization": "layer"}, 1168 + 2 * 16),
        ("backbone", {"attention": True}, 1168 + (8 + 1) * 2 + (2 + 1) * 8),  # 8 → 2 → 8
        ("backbone", {"n_filters": 3, "attention": True}, 2 * 28 * 3 + (3 + 1) * 1 + (1 + 1) * 3),  # 3 → 1 → 3
        ("localized", {"localized": True}, 6 * 8 * (4 + 1)),  # 4 weights and a bias for each of 6 × 8 cells
        ("localized", {"localized": True, "scale": 3}, 9 * 12 * 5),
        ("output", {"n_filters": 32}, 9 * 16 + 1),
    ],
)
def test_parts(part, given, weights):
    assert count(**given)[part] == weights


@pytest.mark.parametrize(
    ("upsampling", "scale", "weights"),
    [
        ("pin", 6, 0),
        ("rc", 6, 73 * 4 + 37 * 4),  # 8 → 4, 4 → 4
        ("dc", 6, (4 * 4 * 8 + 1) * 4 + (6 * 6 * 4 + 1) * 4),  # kernels of twice the stride: 4 × 4, 6 × 6
    ],
)
def test_other_upsamplings(upsampling, scale, weights):
    assert count(scale, upsampling=upsampling)["upsampling"] == weights


def test_after_pin_the_tail_sees_the_backbone_itself():
    assert count(upsampling="pin", static=2)["tail"] == (9 * (8 + 2) + 1) * 4


@pytest.mark.parametrize(
    ("backbone", "given", "weights"),
    [
        ("convnet", {"n_blocks": 3}, 3 * 584),
        ("convnet", {"normalization": "batch"}, 584 + 16),
        # Layers see 8, 12 and 16 channels and add 4 each; the transition takes 20 back to 8.
        ("densenet", {}, 73 * 4 + 109 * 4 + 145 * 4 + 21 * 8),
        ("densenet", {"normalization": "layer"}, 73 * 4 + 109 * 4 + 145 * 4 + 3 * 8 + 21 * 8),
        # Depthwise 7 × 7, 8 → 32 → 8, and a factor for each channel.
        ("convnext", {}, 50 * 8 + 9 * 32 + 33 * 8 + 8),
        ("convnext", {"normalization": "layer", "attention": True}, 50 * 8 + 16 + 9 * 32 + 33 * 8 + 8 + 18 + 24),
        # One level: 8 → 8 (its first convolution is the entry), bottom 8 → 16 → 16, up 16 + 8 → 8 → 8.
        ("unet", {"upsampling": "pin"}, 584 + 73 * 16 + 145 * 16 + 217 * 8 + 584),
        ("unet", {"upsampling": "pin", "normalization": "batch"}, 584 + 73 * 16 + 145 * 16 + 217 * 8 + 584 + 2 * 56),
        # One head of 16 channels: queries, keys and values, and back; biases of 15 × 15 distances, and a scale. Then
        # 8 → 16 → 8.
        ("swin", {}, 9 * 48 + 17 * 8 + 225 + 1 + 9 * 16 + 17 * 8),
        ("swin", {"n_filters": 40, "n_blocks": 2}, 2 * (41 * 96 + 33 * 40 + 2 * 226 + 41 * 80 + 81 * 40)),
        ("swin", {"normalization": "layer", "attention": True}, 9 * 48 + 17 * 8 + 226 + 144 + 136 + 2 * 16 + 18 + 24),
        # Complex 8 × 8 matrices for 12 wave numbers along both sides, beside two convolutions.
        ("fno", {}, 2 * 584 + 2 * 12 * 2 * 64),
        ("fno", {"separable": True, "normalization": "batch"}, 2 * 144 + 2 * 16 + 2 * 12 * 2 * 64),
        # Messages from sender, receiver and way, with a bias, 8 each; cell and messages, 16 → 8, 8 → 8.
        ("graph", {}, (8 + 8 + 3 + 1) * 8 + 17 * 8 + 9 * 8),
        ("graph", {"n_filters": 12, "n_blocks": 2, "normalization": "layer"}, 2 * (28 * 12 + 25 * 12 + 13 * 12 + 24)),
        # Separable, from a to b channels: 9 a without bias, then (a + 1) b.
        ("resnet", {"separable": True}, 2 * (72 + 72)),
        ("convnet", {"separable": True, "n_blocks": 2}, 2 * (72 + 72)),
        ("densenet", {"separable": True}, (72 + 36) + (108 + 52) + (144 + 68) + 21 * 8),
        # The first convolution, which is the entry, stays full.
        (
            "unet",
            {"upsampling": "pin", "separable": True},
            (72 + 72) + (72 + 144) + (144 + 272) + (216 + 200) + (72 + 72),
        ),
    ],
)
def test_other_backbones(backbone, given, weights):
    assert count(backbone=backbone, **given)["backbone"] == weights


@pytest.mark.parametrize(
    ("backbone", "blocks"), [("resnet", 2 * 584), ("convnet", 584), ("densenet", 73 * 4 + 109 * 4 + 145 * 4 + 21 * 8)]
)
@pytest.mark.parametrize("upsampling", ["spc", "pin"])
def test_a_recurrent_network(backbone, blocks, upsampling):
    # Each step has 1 field, 2 channels known of the whole, 3 static variables. In each direction 4 gates of 4 hidden
    # channels see 8 features and 4 hidden channels; both are joined to 8 channels.
    counted = count(channels=3 + 2, static=3, window=3, backbone=backbone, upsampling=upsampling)
    assert counted["entry"] == (9 * 6 + 1) * 8
    assert counted["recurrence"] == 2 * (9 * (8 + 4) + 1) * 16 + (2 * 4 + 1) * 8
    assert counted["backbone"] == blocks
    assert counted == count(channels=5 + 2, static=3, window=5, backbone=backbone, upsampling=upsampling)


def test_a_stacked_window_is_channels():
    assert count(channels=3, window=3, temporal="stacked") == count(channels=3)


@pytest.mark.parametrize("given", [{"dropout_rate": 0.5}, {"activation": "tanh"}, {"residual": False}])
def test_what_has_no_weights(given):
    assert count(**given) == count()


def test_activations_by_hand():
    # float32; 12 cells at LR: entry (8) and a copy, three tensors of 8 a block; 48 cells at HR: two tensors of 4 in
    # the stage, then three of 4 and four fields.
    shape = Shape(3, 4, 1, 0, 2)
    assert activation_bytes(options(), shape, 5) == 4 * 5 * (12 * 8 * (2 + 3) + 48 * 2 * 4 + 48 * (3 * 4 + 4))
    assert activation_bytes(options(n_blocks=2), shape, 5) > activation_bytes(options(), shape, 5)
    # Three steps of one field and of two tensors of 8; 2 steps in each direction keep 12 tensors of 4.
    steps = 4 * 5 * 12 * (3 * (1 + 2 * 8) + 4 * 12 * 4)
    window = Shape(3, 4, 3, 0, 2, window=3)
    assert activation_bytes(options(), window, 5) == activation_bytes(options(), shape, 5) + steps
