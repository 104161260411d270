"""Checks of options against those of other sections; each raises a SpecError with the option and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.errors import SpecError
from engine.spec.sections import NEGATIVE_CONSTRAINTS, NONNEGATIVE_CONSTRAINTS, POINTWISE_LOSSES, RECURRENT
from engine.spec.yaml import flow_yaml

if TYPE_CHECKING:
    from engine.spec.experiment import Spec


def _check_patches(spec: Spec) -> None:
    if spec.model.localized and spec.data.patch_size:
        raise SpecError(
            f"model.localized is true, but data.patch_size is {spec.data.patch_size}",
            option="model.localized",
            hint="a localized block has weights for each cell of the whole grid",
            action="set model.localized=false, or data.patch_size=0",
        )
    if spec.model.backbone == "fno" and spec.data.patch_size:
        raise SpecError(
            f"model.backbone is fno, but data.patch_size is {spec.data.patch_size}",
            option="model.backbone",
            hint="the waves of a patch have other lengths than those of the whole field",
            action="set model.backbone=resnet, or data.patch_size=0",
        )


def _check_recurrence(spec: Spec) -> None:
    if spec.is_recurrent and spec.model.backbone not in RECURRENT:
        raise SpecError(
            f"model.temporal is recurrent, but model.backbone is {spec.model.backbone}",
            option="model.temporal",
            hint=f"a recurrent network has the blocks of {', '.join(RECURRENT)}",
            action="set model.temporal=stacked, or model.backbone=resnet",
        )


def _check_distribution(spec: Spec) -> None:
    if spec.training.loss != "bernoulli_gamma":
        return
    bound = spec.model.output_activation
    if bound not in ("auto", "relu"):
        raise SpecError(
            f"model.output_activation is {bound}, but with training.loss bernoulli_gamma the field is a mean that is "
            "never negative",
            option="model.output_activation",
            action="set model.output_activation=auto",
        )


def _check_flow(spec: Spec) -> None:
    if not spec.draws_residuals:
        return
    if spec.training.loss == "crps":
        raise SpecError(
            f"training.learning is {spec.training.learning}, but training.loss is crps",
            option="training.learning",
            hint="members are drawn around the field of one network, which has none of its own",
            action="set training.loss=mae and model.noise=0, or training.learning=supervised",
        )
    if spec.model.is_stochastic:
        option = "noise" if spec.model.noise else "dropout_variant"
        raise SpecError(
            f"training.learning is {spec.training.learning}, but model.{option} is {getattr(spec.model, option)}",
            option="training.learning",
            hint="members are drawn by one of them alone",
            action="set model.noise=0 and model.dropout_variant=vanilla, or training.learning=supervised",
        )


def _check_members(spec: Spec) -> None:
    if spec.training.loss == "crps" and not spec.model.is_stochastic:
        raise SpecError(
            "training.loss is crps, but model.noise is 0",
            option="training.loss",
            hint="without noise all members are the same",
            action="set model.noise=4, or a model.dropout_variant that begins with mc_",
        )
    if spec.model.noise and spec.training.loss != "crps":
        raise SpecError(
            f"model.noise is {spec.model.noise}, but training.loss is {spec.training.loss}",
            option="model.noise",
            hint="without crps a network learns to ignore noise",
            action="set training.loss=crps, or model.noise=0",
        )


def _check_constraint(spec: Spec) -> None:
    form, bound, data = spec.model.constraint, spec.model.output_activation, spec.data
    if form in NEGATIVE_CONSTRAINTS and bound in ("relu", "softplus"):
        raise SpecError(
            f"model.constraint is {form}, which can make a field negative, but model.output_activation is {bound}",
            option="model.constraint",
            action="set model.constraint=multiplicative, or model.output_activation=auto",
        )
    if form in NONNEGATIVE_CONSTRAINTS and bound == "linear":
        raise SpecError(
            f"model.constraint is {form}, for fields that are never negative, but model.output_activation is linear",
            option="model.constraint",
            action="set model.output_activation=auto, or model.constraint=additive",
        )
    if spec.training.loss == "bernoulli_gamma" and form in ("additive", "softmax"):
        raise SpecError(
            f"model.constraint is {form}, but the mean that training.loss bernoulli_gamma gives can only be raised by "
            "a factor",
            option="model.constraint",
            action="set model.constraint=multiplicative, or training.loss=mae",
        )
    if form in NEGATIVE_CONSTRAINTS and data.scaling == "log":
        raise SpecError(
            f"model.constraint is {form}, which can make a field negative, but data.scaling is log, which has no "
            "values below zero",
            option="model.constraint",
            action="set model.constraint=multiplicative, or data.scaling=standard",
        )
    if form != "none" and data.pairing == "perfect-prog" and data.coarsening != "area":
        raise SpecError(
            f"model.constraint is {form}, which takes LR for the area mean, but data.coarsening is {data.coarsening}",
            option="model.constraint",
            action="set data.coarsening=area, or model.constraint=none",
        )


def _check_scales(spec: Spec) -> None:
    model, scales = spec.model, spec.model.scales
    if not scales:
        return
    if not scales.low <= spec.data.scale <= scales.high:
        raise SpecError(
            f"model.scales is {scales.plain()}, which leaves out data.scale {spec.data.scale}",
            option="model.scales",
            hint="validation and test part have that scale",
        )
    needed = {
        "model.upsampling": (model.upsampling, "implicit", model.upsampling == "implicit"),
        "model.localized": (model.localized, "false", not model.localized),
        "model.constraint": (model.constraint, "none", model.constraint == "none"),
        "training.learning": (spec.training.learning, "supervised", spec.training.learning == "supervised"),
        "training.loss": (spec.training.loss, "mae", spec.training.loss in POINTWISE_LOSSES),
    }
    for option, (given, expected, suits) in needed.items():
        if not suits:
            raise SpecError(
                f"model.scales is given, but {option} is {flow_yaml(given)}",
                option="model.scales",
                hint="a network for any scale learns from single points, with the same weights everywhere",
                action=f"set {option}={expected}, or leave out model.scales",
            )


def _check_vector(spec: Spec) -> None:
    data, model, training = spec.data, spec.model, spec.training
    if bool(data.lr_v) != bool(data.lr and data.target_v):
        given = [f"data.{name}" for name in ("target_v", "lr", "lr_v") if getattr(data, name)]
        raise SpecError(
            f"data.lr_v is {'given' if data.lr_v else 'missing'}, but there is {' and '.join(given)}",
            option="data.lr_v",
            hint="LR of the second component goes with data.lr and data.target_v",
            action="give all three, or leave out data.lr_v and one of the others",
        )
    if not data.target_v:
        return
    suits: dict[str, tuple[tuple[Any, ...], Any]] = {
        "data.scaling": (("standard", "minmax", "none"), data.scaling),
        "model.output_activation": (("auto", "linear"), model.output_activation),
        "model.constraint": (("none", *NEGATIVE_CONSTRAINTS), model.constraint),
        "model.scales": ((None,), model.scales),
        "model.noise": ((0,), model.noise),
        "model.dropout_variant": (("vanilla", "gaussian", "spatial"), model.dropout_variant),
        "training.learning": (("supervised",), training.learning),
        "training.ensemble": ((1,), training.ensemble),
    }
    for option, (known, given) in suits.items():
        if given not in known:
            expected = " or ".join(flow_yaml(value) for value in known)
            raise SpecError(
                f"data.target_v is given, but {option} is {given.plain() if option == 'model.scales' else given}",
                option="data.target_v",
                hint=f"with two components, expected {expected}",
                action=f"set {option}={flow_yaml(known[0])}, or leave out data.target_v",
            )
    if training.loss in ("bernoulli_gamma", "crps"):
        raise SpecError(
            f"data.target_v is given, but training.loss is {training.loss}",
            option="data.target_v",
            hint="components of a vector have values below zero, and no members yet",
            action="set training.loss=mae, or leave out data.target_v",
        )


def _check_season(spec: Spec) -> None:
    model, scaling = spec.model, spec.data.scaling
    if not scaling.startswith("season"):
        return
    needed = {
        "model.constraint": (model.constraint, "none", model.constraint == "none"),
        "model.output_activation": (model.output_activation, "auto", model.output_activation in ("auto", "linear")),
        "model.scales": (model.scales and model.scales.plain(), "null", not model.scales),
        "training.loss": (spec.training.loss, "mae", spec.training.loss != "bernoulli_gamma"),
        "model.residual": (model.residual, "true", model.residual or scaling == "season"),
    }
    for option, (given, expected, suits) in needed.items():
        if not suits:
            raise SpecError(
                f"data.scaling is {scaling}, but {option} is {flow_yaml(given)}",
                option="data.scaling",
                hint="the network gives what is added to a season, of any sign, and to the change of LR",
                action=f"set {option}={expected}, or data.scaling=standard",
            )


CHECKS: tuple[Callable[[Spec], None], ...] = (
    _check_patches,
    _check_recurrence,
    _check_distribution,
    _check_flow,
    _check_members,
    _check_constraint,
    _check_scales,
    _check_vector,
    _check_season,
)
