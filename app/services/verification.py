"""Scores by cell and spectra of compared runs, as their results/verification.nc has them; no widget, no plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from app.services.comparison import Comparison, Result
from app.services.conditions import ALL, PRODUCTS, Selection
from engine.evaluation.exceedance import exceedance
from engine.evaluation.moments import CELL_SCORES, domain_moments, ratio
from engine.evaluation.radial_spectra import effective_resolution
from engine.evaluation.sal import mean_sal
from engine.evaluation.significance import Interval, best_of, errors_of, intervals, verdict

CHANGE = "rmse_change"  # where it is clear: `field_changes`
DIFFERENCE = "mean_difference"  # likewise
RMSE = "rmse"  # of all steps it is in test.nc too: there is always a map of it
SPECTRA = ["power", "coherence"]


@dataclass(frozen=True)
class CellScore:
    """Name, explanation and colours of a score of cells.

    perfect : its value where a product equals HR; is_error : of no sign, so that less is better and a gain has a sense.
    """

    label: str
    sentence: str
    formula: str
    perfect: float = 0.0
    is_error: bool = False


SCORES = {
    RMSE: CellScore("RMSE", "Typical error at each cell; large errors count most.", "√mean (f − o)²", is_error=True),
    "mae": CellScore("MAE", "Mean size of the error at each cell.", "mean |f − o|", is_error=True),
    "bias": CellScore("bias", "Mean error at each cell: above 0 the product is too high.", "mean (f − o)"),
    "pearson": CellScore(
        "correlation", "Whether product and HR rise and fall together: 1 is perfect.", "r = cov(f, o) / (σ_f σ_o)", 1.0
    ),
    "std_ratio": CellScore(
        "std ratio", "Ratio of standard deviations over time: below 1 the product varies too little, above 1 too much.",
        "σ_f / σ_o", 1.0,
    ),
    CHANGE: CellScore(
        "change of RMSE",
        "RMSE minus that of another product: blue is better, red worse, and faint where it may be chance.",
        "√mean (f − o)² − √mean (g − o)², g being the other product; faint where the Diebold-Mariano test of a cell "
        "doesn't stand out at a false discovery rate of 10 % (Wilks 2016)",
    ),
    DIFFERENCE: CellScore(
        "mean difference",
        "Mean of a product minus HR, and of two runs: faint where it may be chance.",
        "mean (f − o), or mean (f − g), g being the other run; faint where its test against 0 at a cell doesn't stand "
        "out at a false discovery rate of 10 % (Wilks 2016)",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Spectra:
    """Curves by wavelength, of the domain and the chosen steps.

    curves : product → wavelength in km and power or coherence, both (ring,), HR first where it has one.
    resolution : product → effective resolution in km, NaN where there is none, and the shortest wavelength in km.
    left_out : letter → why a run has no curve.
    """

    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    resolution: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Uncertainty:
    """Intervals and verdicts by product; a reason where there are none.

    reference : what the verdicts are against; left_out : letter → why a run isn't among them.
    """

    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    reference: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def missing_reason(comparison: Comparison) -> str:
    """Reason why there is only the RMSE of all steps; '' when every run is verified over the same steps."""
    if not comparison.same_period:
        return "Test periods differ, so only RMSE is computed over the steps in common."
    unverified = [result.run.id for result in comparison.results if result.verification is None]
    command = f"python -m engine verify {' '.join(unverified)}"
    return f"For more scores and spectra, run this and reload the page: {command}" if unverified else ""


def score_maps(selection: Selection, score: str) -> dict[str, xr.DataArray]:
    """A score of `SCORES` by cell, (y, x), as stored or from the chosen steps' fields: interpolated of the first run,
    and each run by its letter.
    """
    comparison, season = selection.comparison, selection.stored_season
    if score == RMSE and not selection.condition:
        return comparison.rmse_maps()

    def values(result: Result, product: str) -> xr.DataArray:
        if season:
            by_cell = _verified(result)[score].sel(season=season, product=product).values
        else:
            of_products = CELL_SCORES[score](selection.moments[result.letter])
            by_cell = selection.on_map(result, of_products[PRODUCTS.index(product)])
        return result.rmse(product).copy(data=by_cell)  # on the coordinates of test.nc

    maps = {"interpolated": values(comparison.first, "interpolated")}
    return maps | {result.letter: values(result, "downscaled") for result in comparison.results}


def spectra(selection: Selection, kind: str) -> Spectra:
    """Curves of a kind of `SPECTRA` over the chosen steps, all cells; empty where `missing_reason` gives a reason."""
    comparison = selection.comparison
    if missing_reason(comparison):
        return Spectra()
    curves, resolution, left_out = {}, {}, {}
    for result in comparison.results:
        stored = _verified(result)
        if kind not in stored:
            left_out[result.letter] = str(stored.attrs.get("spectra_left_out", "no values to compare"))
            continue
        if selection.condition.of_steps:
            if "step_power" not in stored:
                left_out[result.letter] = f"for those of chosen steps, run python -m engine verify {result.run.id}"
                continue
            stored = _spectra_of(stored, selection.steps[result.letter])
        wavelength = stored["wavelength"].values
        if kind == "power" and result is comparison.first:
            curves["hr"] = (wavelength, stored["hr_power"].values)
        products = {"interpolated": "interpolated"} if result is comparison.first else {}
        for key, product in (products | {result.letter: "downscaled"}).items():
            curves[key] = (wavelength, stored[kind].sel(product=product).values)
            effective = stored["effective_resolution"].sel(product=product, criterion="both")
            resolution[key] = (float(effective), float(wavelength.min()))
    return Spectra(curves, resolution, left_out)


def _spectra_of(stored: xr.Dataset, steps: np.ndarray) -> xr.Dataset:
    """Spectra as stored, but of these steps alone; NaN where none of them is complete."""
    names = ("step_hr_power", "step_power", "step_cospectrum")
    of_steps = stored[list(names)].isel(time=steps).load().astype(float)
    hr_power, power, cospectrum = (of_steps[name].mean("time").values for name in names)
    shares = ratio(power, hr_power), ratio(cospectrum**2, power * hr_power)
    wavenumber = stored["wavenumber"].values
    effective = [
        np.max([effective_resolution(wavenumber, share) for share in of_product])
        for of_product in zip(*shares, strict=True)
    ]
    return xr.Dataset(
        {
            "wavelength": stored["wavelength"],
            "hr_power": ("wavenumber", hr_power),
            "power": (("product", "wavenumber"), power),
            "coherence": (("product", "wavenumber"), shares[1]),
            "effective_resolution": (("product", "criterion"), np.array(effective)[:, None]),
        },
        {"product": stored["product"], "criterion": ["both"]},
    )


def sal(selection: Selection) -> dict[str, dict[str, float]]:
    """Product → mean size of each component of SAL over the chosen steps: simple methods of the first, and each run.

    Runs of which none is stored, being of other fields than precipitation, are left out.
    """
    found = {}
    for result in selection.comparison.results:
        stored = result.verification
        if stored is None or "step_sal" not in stored:
            continue
        chosen = stored.isel(time=selection.steps[result.letter]) if selection.condition else stored
        simple = [str(name) for name in stored["product"].values if name != "downscaled"]
        for product in simple if result is selection.comparison.first else []:
            found[product] = mean_sal(chosen.sel(product=product))
        found[result.letter] = mean_sal(chosen.sel(product="downscaled"))
    return found


def taylor_reason(comparison: Comparison) -> str:
    """Reason why there is no Taylor diagram; '' when there is one."""
    older = [result.run.id for result in comparison.results if "domain_std" not in (result.verification or {})]
    if reason := missing_reason(comparison):
        return reason
    return (
        f"For a Taylor diagram, run this and reload the page: python -m engine verify {' '.join(older)}"
        if older
        else ""
    )


def taylor_points(selection: Selection) -> dict[str, tuple[float, float]]:
    """Product → standard deviation over that of HR, and correlation: simple methods of the first run, and each run.

    Products that have none, being constant, are left out; so are baselines where nothing is stored of the steps.
    """
    comparison, season = selection.comparison, selection.stored_season
    first, points = comparison.first, {}
    simple = [str(product) for product in _verified(first)["product"].values if product != "downscaled"]
    drawn = [(product, first, product) for product in (simple if season else PRODUCTS[:1])]
    for key, result, product in drawn + [(result.letter, result, "downscaled") for result in comparison.results]:
        if season:
            stored = _verified(result).sel(season=season, product=product)
            point = (float(stored["domain_std"] / stored["hr_domain_std"]), float(stored["domain_correlation"]))
        else:
            std, correlation = domain_moments(selection.moments[result.letter], selection.areas(result))
            number = PRODUCTS.index(product)
            point = (float(ratio(std[number + 1], std[0])), float(correlation[number]))
        if np.isfinite(point).all():
            points[key] = point
    return points


def uncertainty(selection: Selection, reference: str) -> Uncertainty:
    """Scores of the domain over the chosen steps with their intervals, and verdicts against a product.

    reference : 'interpolated', the name of a baseline, or a letter; '' for the best of those that aren't a network.
    """
    comparison = selection.comparison
    stored = {result.letter: result.verification for result in comparison.results}
    verified = {letter: each for letter, each in stored.items() if each is not None and "step_mse" in each}
    if len(verified) < len(stored):
        runs = " ".join(result.run.id for result in comparison.results if result.letter not in verified)
        return Uncertainty(reason=f"For intervals, run this and reload the page: python -m engine verify {runs}")
    if selection.condition:
        verified = {letter: each.isel(time=selection.steps[letter]) for letter, each in verified.items()}
    errors, left_out = errors_of(verified)
    if not len(errors.weight):
        return Uncertainty(reason="No values to compare.")
    chosen = reference or best_of(errors, [name for name in errors.products if name not in stored])
    chosen = chosen if chosen in errors.products else errors.products[0]
    verdicts = {product: verdict(errors, product, chosen) for product in errors.products}
    return Uncertainty(intervals(errors), verdicts, chosen, left_out)


def exceedances(selection: Selection, thresholds: Sequence[float]) -> dict[str, xr.Dataset]:
    """Letter → scores of `exceedance` over the chosen steps and cells, of each shown run by its own HR."""
    found = {}
    for result in selection.comparison.shown:
        steps, products = selection.steps[result.letter], result.products
        chosen = products if len(steps) == len(result.times) else products.isel(time=steps)
        cells = np.zeros(result.grid.shape, bool)
        cells.flat[selection.cells[result.letter]] = True
        found[result.letter] = exceedance(chosen, thresholds, cells=cells)
    return found


def example_thresholds(comparison: Comparison) -> list[float]:
    """The upper quantiles of HR that are stored, in three digits, to begin with."""
    stored = comparison.first.verification
    if stored is None or "hr_quantile" not in stored:
        return []
    upper = stored["hr_quantile"].sel(season=ALL, quantile=[0.95, 0.99]).values
    return [float(f"{value:.3g}") for value in upper]


def resolution_text(resolution: Mapping[str, tuple[float, float]]) -> str:
    """Effective resolutions as read: 'interpolated 92 km, A 37 km or finer'."""

    def text(effective: float, shortest: float) -> str:
        if np.isnan(effective):
            return "none"
        return f"{effective:.3g} km" + (" or finer" if effective <= shortest else "")

    return ", ".join(f"{key} {text(*value)}" for key, value in resolution.items())


def _verified(result: Result) -> xr.Dataset:
    assert result.verification is not None  # else `missing_reason` gave a reason
    return result.verification
