"""The second network of what draws residuals around the field of a first one; without TensorFlow.

It is a network of the same options on more inputs: beside those of the first, what the first network's field adds to
the interpolated LR, and with flow matching the time of the flow and its state. State and addition are fields at HR.
They stand beside the static variables, and, unless inputs are interpolated to HR first (`pin`), also as scale² channels
at LR, so that the backbone sees each of their cells. With flow matching it gives the velocity from noise to a residual,
with a normalizing flow the context of couplings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import gcd, lcm

from engine.models.architecture import count_parameters
from engine.models.layers import Conv
from engine.models.receptive_field import Reach, network_parts, reach
from engine.models.shapes import Shape
from engine.network_part import Part
from engine.spec import FLOW_MATCHING, NORMALIZING_FLOW, ModelOptions, Spec

GIVES = {FLOW_MATCHING: "velocity", NORMALIZING_FLOW: "context"}
CONTEXT = 4  # channels that a normalizing flow is given at each HR cell
SQUEEZES = 2  # of a normalizing flow: its couplings work on 2 × 2 and on 4 × 4 cells


def second_network(options: ModelOptions, shape: Shape, learning: str) -> tuple[ModelOptions, Shape]:
    """Options and shape of the second network, beside a first one of these."""
    fields, of_flow = (2, 1) if learning == FLOW_MATCHING else (1, 0)  # at HR; the flow's time
    at_lr = of_flow + (0 if options.upsampling == "pin" else fields * shape.scale**2)
    second = replace(shape, channels=shape.channels + at_lr, static=shape.static + fields, outputs=1)
    if learning == NORMALIZING_FLOW:
        second = replace(second, outputs=CONTEXT, has_features=True)
    return options.replace(residual=False, constraint="none"), second


def networks_of(spec: Spec, shape: Shape) -> Iterator[tuple[ModelOptions, Shape]]:
    """Options and shape of the network of a spec, and of the second one, if there is one."""
    yield spec.model, shape
    if spec.draws_residuals:
        yield second_network(spec.model, shape, spec.training.learning)


def count_second(spec: Spec, shape: Shape) -> int:
    """Weights that draw residuals beside a network of this shape: of the second network, and of couplings; or 0."""
    networks = [*networks_of(spec, shape)][1:]
    return sum(sum(count_parameters(*each).values()) for each in networks) + count_couplings(spec)


def count_couplings(spec: Spec) -> int:
    """Weights of a normalizing flow but for its network: its affine transform, and each mixing and coupling."""
    if spec.training.learning != NORMALIZING_FLOW:
        return 0
    return (CONTEXT + 1) * 2 + sum(
        spec.model.sampling_steps * (channels**2 + sum(conv.parameters(n) for conv, n in convolutions(spec, channels)))
        for channels in levels()
    )


def levels() -> list[int]:
    """Channels of each level of a normalizing flow: cells of a block."""
    return [4**level for level in range(1, SQUEEZES + 1)]


def convolutions(spec: Spec, channels: int) -> list[tuple[Conv, int]]:
    """Convolutions of one coupling, with the channels that they are given."""
    hidden, last = Conv("hidden", spec.model.n_filters), Conv("last", channels)
    return [(hidden, channels // 2 + CONTEXT * channels), (last, spec.model.n_filters)]


def coupling_values(spec: Spec, shape: Shape) -> int:
    """Values that one coupling makes of a field, at the level where these are most; 0 without a normalizing flow."""
    if spec.training.learning != NORMALIZING_FLOW:
        return 0
    y, x = shape.hr
    return max(
        (2 * (channels // 2 + CONTEXT * channels) + 2 * spec.model.n_filters + 8 * channels) * y * x // channels
        for channels in levels()
    )


def parts_of(spec: Spec, shape: Shape, interpolation: str) -> list[Part]:
    """Parts of all networks of a spec, one after another."""
    first, *other = (network_parts(*network, interpolation) for network in networks_of(spec, shape))
    gives = GIVES.get(spec.training.learning, "")
    parts = [*first, *(replace(part, network=gives) for parts in other for part in parts)]
    if not (weights := count_couplings(spec)):
        return parts
    last, around = parts[-1], -(-_coupling_reach(spec) // shape.scale)
    many, sees = SQUEEZES * spec.model.sampling_steps, last.sees and last.sees + 2 * around
    does = "affine coupling, of 2 × 2 or 4 × 4 cells"
    return [*parts, Part(f"couplings 1–{many}", does, *shape.hr, 1, weights, sees, many, gives)]


def reach_of(spec: Spec, shape: Shape, interpolation: str) -> Reach | None:
    """Cells that a spec's networks need around a piece of a field; None if one of them needs the whole field.

    With flow matching they are those of the field and of one evaluation of the velocity. Each further step of Heun's
    method looks as far again; what is left out then is what noise beyond the border of a tile would change. A
    normalizing flow needs as much as its couplings see, and pieces that begin where one of its blocks of cells does.
    """
    reaches = [reach(*network, interpolation) for network in networks_of(spec, shape)]
    known = [each for each in reaches if each]
    if len(known) < len(reaches):
        return None
    found = Reach(sum(each.halo for each in known), lcm(*(each.align for each in known)))
    if spec.training.learning != NORMALIZING_FLOW:
        return found
    block = 2**SQUEEZES
    beside = -(-_coupling_reach(spec) // shape.scale)
    return Reach(found.halo + beside, lcm(found.align, block // gcd(block, shape.scale)))


def _coupling_reach(spec: Spec) -> int:
    """HR cells that a normalizing flow sees beside a cell: two convolutions of 3 × 3 blocks in each coupling."""
    return sum(spec.model.sampling_steps * 2 * 2**level for level in range(1, SQUEEZES + 1)) + 2**SQUEEZES - 1
