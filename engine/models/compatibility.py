"""Which fields a network of certain options can't describe; known without TensorFlow."""

from __future__ import annotations

from engine.data.normalizer import is_nonnegative_quantity
from engine.data.pairs import Pairs
from engine.errors import DataError
from engine.spec import NEGATIVE_CONSTRAINTS, NONNEGATIVE_CONSTRAINTS, Spec


def check_field(spec: Spec, pairs: Pairs, lowest: float) -> None:
    """Check the field against options that suit only some fields.

    Parameters
    ----------
    lowest : lowest HR value known, in the target's unit.

    Raises
    ------
    DataError
        If the field has values below zero, or never has them, and the options need it otherwise; or if cells of the
        test part are in no other.
    """
    if spec.model.localized and pairs.is_split_by_rows:
        raise DataError(
            "there is a single time step, which is split by rows, but model.localized learns weights of each cell",
            hint="those of the test part would be learned from nothing",
            action="set model.localized=false, and data.patch_size to learn from many places",
        )
    if (scales := spec.model.scales) and pairs.scale == spec.data.scale:  # not for LR as given, without training
        side = spec.data.patch_size or min(pairs.hr_grid.shape)
        if side < 2 * scales.high:
            raise DataError(
                f"model.scales goes up to {scales.high:g}, but fields in training have {side} HR cells along a side",
                hint="expected at least two LR cells",
                action="lower it, or take a larger region or data.patch_size",
            )
    name, form = pairs.hr.name, spec.model.constraint
    by_name = is_nonnegative_quantity(pairs.hr.attrs.get("standard_name", ""))
    is_nonnegative = lowest >= 0 or by_name
    if spec.training.loss == "bernoulli_gamma" and not is_nonnegative:
        raise DataError(
            f"{name} falls to {lowest:g}, but training.loss bernoulli_gamma is for what is zero or above, as "
            "precipitation",
            action="choose mae or huber",
        )
    if form in NONNEGATIVE_CONSTRAINTS and not is_nonnegative:
        raise DataError(
            f"{name} falls to {lowest:g}, but model.constraint {form} shares out what is never negative",
            action="choose additive, or give the field in a unit without values below zero, as K is for a temperature",
        )
    if form in NEGATIVE_CONSTRAINTS and by_name:
        raise DataError(
            f"{name} is never negative, but model.constraint {form} can take it below zero",
            action="choose multiplicative or softmax",
        )
