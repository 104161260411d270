"""Checks of options against those of other sections; each raises a SpecError with the option and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

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
    _check_needed(
        "model.scales is given",
        "a network for any scale learns from single points, with the same weights everywhere",
        "leave out model.scales",
        {
            "model.upsampling": (model.upsampling, "implicit", model.upsampling == "implicit"),
            "model.localized": (model.localized, False, not model.localized),
            "model.constraint": (model.constraint, "none", model.constraint == "none"),
            "training.learning": (spec.training.learning, "supervised", spec.training.learning == "supervised"),
            "training.loss": (spec.training.loss, "mae", spec.training.loss in POINTWISE_LOSSES),
        },
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
    constraints, dropouts = ("none", *NEGATIVE_CONSTRAINTS), ("vanilla", "gaussian", "spatial")
    _check_needed(
        "data.target_v is given",
        "components of a vector have values of any sign, and one network without members gives both",
        "leave out data.target_v",
        {
            "data.scaling": (data.scaling, "standard", data.scaling in ("standard", "minmax", "none")),
            "model.output_activation": (model.output_activation, "auto", model.output_activation in ("auto", "linear")),
            "model.constraint": (model.constraint, "none", model.constraint in constraints),
            "model.scales": (model.scales and model.scales.plain(), None, not model.scales),
            "model.noise": (model.noise, 0, not model.noise),
            "model.dropout_variant": (model.dropout_variant, "vanilla", model.dropout_variant in dropouts),
            "training.learning": (training.learning, "supervised", training.learning == "supervised"),
            "training.ensemble": (training.ensemble, 1, training.ensemble == 1),
            "training.loss": (training.loss, "mae", training.loss not in ("bernoulli_gamma", "crps")),
        },
    )


def _check_season(spec: Spec) -> None:
    model, scaling = spec.model, spec.data.scaling
    if not scaling.startswith("season"):
        return
    _check_needed(
        f"data.scaling is {scaling}",
        "the network gives what is added to a season, of any sign, and to the change of LR",
        "data.scaling=standard",
        {
            "model.constraint": (model.constraint, "none", model.constraint == "none"),
            "model.output_activation": (model.output_activation, "auto", model.output_activation in ("auto", "linear")),
            "model.scales": (model.scales and model.scales.plain(), None, not model.scales),
            "training.loss": (spec.training.loss, "mae", spec.training.loss != "bernoulli_gamma"),
            "model.residual": (model.residual, True, model.residual or scaling == "season"),
        },
    )


def _check_stations(spec: Spec) -> None:
    data = spec.data
    if not data.stations:
        return
    _check_needed(
        "data.stations is given",
        "means of stations and HR cells over the training part are subtracted from what they differ from LR",
        "leave out data.stations",
        {
            "data.pairing": (data.pairing, "mos", data.pairing == "mos" or not data.lr),
            "data.target_v": (data.target_v and data.target_v.plain(), None, not data.target_v),
            "data.scaling": (data.scaling, "standard", not data.scaling.startswith("season")),
            "data.patch_size": (data.patch_size, 0, not data.patch_size),
        },
    )


def _check_needed(given: str, hint: str, otherwise: str, needed: Mapping[str, tuple[object, object, bool]]) -> None:
    """Raise a SpecError for the first of the needed options that doesn't suit what is given.

    given : option and value that need others, as 'model.scales is given'; needed : option → its value, one that suits,
        and whether its own does.
    """
    for option, (value, suitable, suits) in needed.items():
        if not suits:
            raise SpecError(
                f"{given}, but {option} is {flow_yaml(value)}",
                option=given.split()[0],
                hint=hint,
                action=f"set {option}={flow_yaml(suitable)}, or {otherwise}",
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
    _check_stations,
)
