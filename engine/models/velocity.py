"""The second network of flow matching, which gives the velocity from noise to a residual; without TensorFlow.

It is a network of the same options on more inputs: beside those of the first, the time of the flow, its state, and what
the first network's field adds to the interpolated LR. State and addition are fields at HR. They stand beside the static
variables, and, unless inputs are interpolated to HR first (`pin`), also as scale² channels at LR, so that the backbone
sees each of their cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import lcm

from engine.models.architecture import count_parameters
from engine.models.receptive_field import Part, Reach, network_parts, reach
from engine.models.shapes import Shape
from engine.spec import ModelOptions, Spec

FIELDS = 2  # state and addition


def velocity_of(options: ModelOptions, shape: Shape) -> tuple[ModelOptions, Shape]:
    """Options and shape of the network of the velocity, beside a network of these."""
    at_lr = 1 + (0 if options.upsampling == "pin" else FIELDS * shape.scale**2)
    return options.replace(residual=False, constraint="none"), replace(
        shape, channels=shape.channels + at_lr, static=shape.static + FIELDS, outputs=1
    )


def networks_of(spec: Spec, shape: Shape) -> Iterator[tuple[ModelOptions, Shape]]:
    """Options and shape of the network of a spec, and with flow matching of that of its velocity."""
    yield spec.model, shape
    if spec.has_flow:
        yield velocity_of(spec.model, shape)


def count_velocity(options: ModelOptions, shape: Shape) -> int:
    """Weights of the network of the velocity, beside a network of these options and shape."""
    return sum(count_parameters(*velocity_of(options, shape)).values())


def parts_of(spec: Spec, shape: Shape, interpolation: str) -> list[Part]:
    """Parts of all networks of a spec, one after another."""
    first, *other = (network_parts(*network, interpolation) for network in networks_of(spec, shape))
    return [*first, *(replace(part, network="velocity") for parts in other for part in parts)]


def reach_of(spec: Spec, shape: Shape, interpolation: str) -> Reach | None:
    """Cells that a spec's networks need around a piece of a field; None if one of them needs the whole field.

    With flow matching they are those of the field and of one evaluation of the velocity. Each further step of Heun's
    method looks as far again; what is left out then is what noise beyond the border of a tile would change.
    """
    reaches = [reach(*network, interpolation) for network in networks_of(spec, shape)]
    known = [each for each in reaches if each]
    if len(known) < len(reaches):
        return None
    return Reach(sum(each.halo for each in known), lcm(*(each.align for each in known)))
