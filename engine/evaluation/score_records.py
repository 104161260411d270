"""Scores of a run as records; their plain form is the content of results/scores.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from engine.evaluation.products import BASELINES


@dataclass(frozen=True)
class MetricScore:
    """Mean and standard deviation over time steps; None where no step has the score."""

    mean: float | None = None
    std: float | None = None


_INTERVALS = ("interval", "calibrated")
ProductScores = Mapping[str, MetricScore]  # of one field, by metric


@dataclass(frozen=True)
class ConstraintViolation:
    """Largest violation of a constraint over all time steps.

    max_violation : largest difference between an LR value and the mean of the downscaled cells in it.
    unit : of the target.
    share_of_range : max_violation over the range of HR; None where HR is constant.
    """

    max_violation: float
    unit: str
    share_of_range: float | None


@dataclass(frozen=True)
class IntervalScore:
    """Share of HR's values within an interval that is to hold 90 % of them, and its mean width in the target's unit."""

    coverage: float
    width: float


@dataclass(frozen=True)
class EnsembleScores:
    """Scores of the members that the downscaled field is the mean of, over all values of the test part.

    crps : fair continuous ranked probability score, in the target's unit; for one field it would be its MAE.
    spread_error_ratio : √((M + 1) / M · mean variance of the M members) over the RMSE of their mean: 1 where members
        differ as much as HR from them, less where they are too much alike (Fortin et al. 2014, J. Hydrometeorol. 15,
        1708); None without error.
    rank_histogram : share of HR's values above none, above one … above all of the members, all 1 / (M + 1) at best.
    interval : between the members' quantiles 0.05 and 0.95; calibrated : `lower` to `upper` of results/test.nc.
    """

    members: int
    crps: float
    spread_error_ratio: float | None
    rank_histogram: tuple[float, ...]
    interval: IntervalScore | None
    calibrated: IntervalScore | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        intervals = {name: score and IntervalScore(**score) for name in _INTERVALS if (score := plain.get(name))}
        return cls(**{**plain, "rank_histogram": tuple(plain["rank_histogram"]), **intervals})


@dataclass(frozen=True)
class Scores:
    """Scores of the downscaled and the interpolated field, and of the constraint, if the network has one.

    baselines : by name, as in results/baselines.nc; empty in runs made before there were any.
    second : of the second component of a vector; None if there is one target.
    vector : of both components together, as `engine.evaluation.vector_scores.VectorScores`, by product and score.
    """

    downscaled: ProductScores = field(default_factory=dict)
    interpolated: ProductScores = field(default_factory=dict)
    constraint: ConstraintViolation | None = None
    baselines: Mapping[str, ProductScores] = field(default_factory=dict)
    ensemble: EnsembleScores | None = None
    second: Scores | None = None
    vector: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, object]:
        """Give the content of scores.json, in which the baselines stand beside the others."""
        plain = asdict(self)
        baselines = plain.pop("baselines")
        plain["second"] = self.second and self.second.to_plain()
        plain["vector"] = plain["vector"] or None
        return {name: scores for name, scores in (plain | baselines).items() if scores is not None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read the content of scores.json, beside which more may stand; a product that is missing has no scores."""
        products = {
            name: {
                metric: MetricScore(numbers.get("mean"), numbers.get("std"))
                for metric, numbers in plain.get(name, {}).items()
            }
            for name in ("downscaled", "interpolated", *(name for name in BASELINES if name in plain))
        }
        constraint, ensemble, second = (plain.get(name) for name in ("constraint", "ensemble", "second"))
        of_run = products.pop("downscaled"), products.pop("interpolated")
        return cls(
            *of_run,
            constraint and ConstraintViolation(**constraint),
            products,
            ensemble and EnsembleScores.from_plain(ensemble),
            second and cls.from_plain(second),
            plain.get("vector") or {},
        )
