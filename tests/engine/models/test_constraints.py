"""Hard constraints: by hand for one block, and on results as they are written, for any network and scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import xarray as xr

from engine.data.normalizer import ValueTransform, fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.errors import DataError, SpecError
from engine.evaluation.predict import Downscaler, write_results
from engine.evaluation.scores import constraint_violation
from engine.models.architecture import count_parameters
from engine.models.compatibility import check_field
from engine.models.constraints import CONSTRAINTS, Blocks, Logits, in_unit, scaled
from engine.models.network import Output, bound_of, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.losses import Loss, weighted_sum
from tests.engine.small_pairs import make_pairs, waves

NAN = np.nan


def block(*values: float) -> tf.Tensor:
    """(1, 2, 2, 1): the four HR cells of one LR cell."""
    return tf.constant(values, tf.float32, (1, 2, 2, 1))


def constrained(form: str, field: Any, lr: float, cells: Any = (1, 1, 1, 1), *, there: float = 1, **scale: Any) -> Any:
    layer = CONSTRAINTS[form](2, ValueTransform(**scale))
    of_lr = (tf.fill((1, 1, 1, 1), float(value)) for value in (lr, there))
    return layer([block(*field), *of_lr, block(*cells)]).numpy().ravel()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("additive", [2, 3, 4, 7]),  # the mean is 3, LR is 4: one more for each
        ("multiplicative", [4 / 3, 8 / 3, 4, 8]),  # 4 / 3 times as much
        ("softmax", 4 * np.exp([1, 2, 3, 6]) / np.mean(np.exp([1, 2, 3, 6]))),
    ],
)
def test_one_block_by_hand(form, expected):
    np.testing.assert_allclose(constrained(form, [1, 2, 3, 6], 4), expected, rtol=1e-6)


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_cells_count_by_area_and_missing_cells_do_not(form):
    found = constrained(form, [1, 2, 3, 6], 4, [1, 3, 0, 2])
    assert np.average(found, weights=[1, 3, 0, 2]) == pytest.approx(4)


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_a_block_without_cells_has_a_field_all_the_same(form):
    """Nobody sees it, but a NaN there would spread."""
    assert constrained(form, [1, 2, 3, 6], 4, [0, 0, 0, 0]).mean() == pytest.approx(4)


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
def test_blocks_where_lr_is_missing_stay_as_they_are(form):
    np.testing.assert_allclose(constrained(form, [1, 2, 3, 6], 4, there=0), [1, 2, 3, 6])


def test_the_mean_is_that_of_the_unit_not_of_its_logarithm():
    """x = expm1(z): fields of 1 and 3 where LR is 4 become 2 and 6."""
    found = constrained("multiplicative", np.log1p([1, 3, 1, 3]), np.log1p(4), reference=1.0)
    np.testing.assert_allclose(np.expm1(found), [2, 6, 2, 6], rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "lr", "expected"),
    [
        ([0, 0, 1, 3], 4, [0, 0, 4, 12]),  # what is dry stays dry
        ([1, 2, 3, 6], 0, [0, 0, 0, 0]),
        ([0, 0, 0, 0], 0, [0, 0, 0, 0]),
        ([0, 0, 0, 0], 4, [4, 4, 4, 4]),  # nothing to raise
        ([0, 0, 0, 4e-4], 4, [4, 4, 4, 4]),  # nearly nothing
        ([1, 2, 3, 6], -1, [0, 0, 0, 0]),  # another model's negative rain
    ],
)
def test_multiplicative_of_fields_with_zeros(field, lr, expected):
    np.testing.assert_allclose(constrained("multiplicative", field, lr), expected, rtol=1e-5)


@pytest.mark.parametrize("form", CONSTRAINTS)
@pytest.mark.parametrize("field", [[0, 0, 0, 0], [1e3, -1e3, 0, 5], [1e-30, 0, 0, 0]])
@pytest.mark.parametrize("lr", [0.0, 4.0])
@pytest.mark.parametrize("reference", [0.0, 0.5])
def test_gradients_are_finite(form, field, lr, reference):
    layer, variable = CONSTRAINTS[form](2, ValueTransform(reference=reference)), tf.Variable(block(*field))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(
            layer([variable, tf.fill((1, 1, 1, 1), lr), tf.ones((1, 1, 1, 1)), block(1, 1, 0, 1)]) ** 2
        )
    assert np.isfinite(tape.gradient(loss, variable)).all()
    assert np.isfinite(float(loss))


@pytest.mark.parametrize("scale", [ValueTransform(), ValueTransform(280.0, 8.0), ValueTransform(0.3, 1.2, 0.05)])
def test_units_in_a_graph_are_those_of_the_scaling(scale):
    values = np.float32([0.0, 0.01, 1.0, 30.0])
    np.testing.assert_allclose(scaled(values, scale), scale.forward(values), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(in_unit(scale.forward(values), scale), scale.inverse(scale.forward(values)), rtol=1e-5)


def test_logits_begin_at_the_interpolated_field():
    """exp(logits) is LR interpolated, but not below `least`."""
    base = ValueTransform(2.0, 4.0).forward(np.array([0.0, 1e-5, 2.0, 8.0]))
    found = np.exp(Logits(ValueTransform(2.0, 4.0), 0.5, 1e-3)([tf.zeros(4), base]))
    np.testing.assert_allclose(found, [1e-3, 1e-3, 2, 8], rtol=1e-5)


def test_block_means_of_several_blocks():
    field = np.arange(16, dtype="f4").reshape(1, 4, 4, 1)
    mean = Blocks(2, tf.ones((1, 4, 4, 1))).mean(field).numpy()[0, ..., 0]
    np.testing.assert_allclose(mean, [[2.5, 4.5], [10.5, 12.5]])  # (0 + 1 + 4 + 5) / 4 and so on


# Results as they are written --------------------------------------------------------------------------------------


def rain(n: int = 16, ny: int = 12, nx: int = 12) -> np.ndarray:
    """(time, y, x): dry in more than half of the cells, and of a long tail."""
    return np.maximum(np.exp(3 * (waves(n, ny, nx) - 280.5)) - 3, 0).astype("f4")


def with_gaps(hr: np.ndarray) -> np.ndarray:
    """A sea that never has values, some of it whole LR cells, and gaps that come and go, one over a whole LR cell."""
    hr = hr.copy()
    hr[:, 3:9, 5:11] = NAN
    hr[1::3, :2, 1:4] = NAN
    return hr


def spec_of(form: str, *, scaling: str = "standard", **model: Any) -> Spec:
    data = {"target": {"path": "hr.nc"}, "scale": 2, "scaling": scaling}
    return Spec.from_plain(
        {
            "version": 1,
            "data": data,
            "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "constraint": form, **model},
        }
    )


def lab(spec: Spec, pairs: Pairs) -> tuple[keras.Model, Samples]:
    """A network with random numbers for weights, all of them: whatever it makes, the constraint has to hold."""
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    shape = Shape(*pairs.lr_grid.shape, samples.channels, len(pairs.static), pairs.scale)
    network = build(spec.model, shape, Output.of(spec.model, normalizer, pairs.interpolation))
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    assert network.count_params() == sum(count_parameters(spec.model, shape).values())
    return network, samples


def written(spec: Spec, pairs: Pairs, folder: Path) -> tuple[xr.Dataset, Samples]:
    network, samples = lab(spec, pairs)
    downscaler = Downscaler((network,), bound_of(spec.model, samples.normalizer))
    write_results(folder / "test.nc", downscaler, samples, lambda done, total: None, "test")
    with xr.open_dataset(folder / "test.nc") as results:
        return results.load(), samples


def off(results: xr.Dataset, scale: int) -> np.ndarray:
    """(time, y_lr, x_lr): mean of the downscaled cells minus LR, cells weighted by their area on the sphere."""
    lat = results["y"].values  # cells of 1°
    areas = np.sin(np.deg2rad(lat + 0.5)) - np.sin(np.deg2rad(lat - 0.5))
    field = results["downscaled"].astype(float)
    weights = xr.DataArray(areas, dims="y") * np.isfinite(field)
    blocks = {"y": scale, "x": scale}
    sums, totals = ((f.fillna(0)).coarsen(blocks).sum() for f in (field * weights, weights))
    return (sums / totals.where(totals > 0)).values - results["lr"].values


FIELDS = {
    "temperature": lambda: with_gaps(waves(16, 12, 12)),
    "rain": lambda: with_gaps(rain()),
    "pressure": lambda: with_gaps(100_000 + 800 * (waves(16, 12, 12) - 280)),
}
SCALINGS = {"temperature": ("standard", "minmax", "none"), "rain": ("standard", "minmax", "none", "log")}
CASES = [
    (form, field, scaling)
    for form in CONSTRAINTS
    for field in FIELDS
    for scaling in SCALINGS.get(field, ("standard",))
    if (form, field) != ("additive", "rain")
]


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("form", "field", "scaling"), CASES)
def test_the_mean_of_the_downscaled_cells_is_lr(form, field, scaling, residual, tmp_path):
    pairs = make_pairs(FIELDS[field]())
    results, samples = written(spec_of(form, scaling=scaling, residual=residual), pairs, tmp_path)
    assert samples.normalizer.lr_has_gaps
    found, span = off(results, 2), float(results["hr"].max() - results["hr"].min())
    assert np.isfinite(found).sum() > 100
    assert np.nanmax(np.abs(found)) < 1e-4 * span
    violation = constraint_violation(results, pairs.hr_grid.cell_areas(), 2)
    assert violation.max_violation == pytest.approx(np.nanmax(np.abs(found)), rel=1e-3, abs=1e-9)
    assert violation.share_of_range == pytest.approx(violation.max_violation / span, rel=1e-3)
    assert violation.unit == "K"
    assert np.abs(results["downscaled"] - results["interpolated"]).max() > 1e-3 * span  # the network does something
    if form != "additive":
        assert float(results["downscaled"].min()) >= 0


def test_without_a_constraint_the_mean_is_another(tmp_path):
    """The measure of violation can see one."""
    pairs = make_pairs(FIELDS["temperature"]())
    results, _ = written(spec_of("none"), pairs, tmp_path)
    assert np.nanmax(np.abs(off(results, 2))) > 0.05
    assert constraint_violation(results, pairs.hr_grid.cell_areas(), 2).share_of_range > 0.01


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_an_lr_field_given_by_another_model_is_kept_too(form, tmp_path):
    hr = waves(16, 11, 12)  # extended by a row of missing cells, as mos does
    hr = np.concatenate([hr, np.full((16, 1, 12), NAN, "f4")], axis=1)
    lr = 290 + np.random.default_rng(0).normal(size=(16, 6, 6)).astype("f4")
    results, _ = written(spec_of(form), make_pairs(hr, lr=lr), tmp_path)
    assert np.nanmax(np.abs(off(results, 2))) < 1e-4 * 6


@pytest.mark.parametrize("form", CONSTRAINTS)
@pytest.mark.parametrize(
    "model", [{"localized": True}, {"backbone": "unet", "upsampling": "pin"}, {"upsampling": "rc"}]
)
def test_any_network_can_be_constrained_and_static_variables_stay_its_own(form, model, tmp_path):
    pairs = make_pairs(with_gaps(waves(16, 12, 12)), static=[np.random.default_rng(0).normal(size=(12, 12))])
    results, _ = written(spec_of(form, **model), pairs, tmp_path)
    assert np.nanmax(np.abs(off(results, 2))) < 1e-4 * 6


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_mixed_precision_keeps_the_constraint(form, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        results, _ = written(spec_of(form), make_pairs(with_gaps(waves(16, 12, 12))), tmp_path)
    finally:
        keras.config.set_dtype_policy(before)
    assert np.nanmax(np.abs(off(results, 2))) < 1e-4 * 6


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_patches_carry_the_areas_of_their_cells(form):
    """The mean over a patch's own cells is LR, and gradients come through."""
    spec, pairs = spec_of(form), make_pairs(with_gaps(waves(16, 12, 12)))
    network, samples = lab(spec, pairs)
    plan = np.array([[[0, 2, 1], [3, 3, 2]]], np.int32)  # row, and first LR row and column
    inputs, fixed, hr, weights = next(iter(Feed(samples, True).stream(lambda: iter([plan]), 3)))
    with tf.GradientTape() as tape:
        field = network([inputs, fixed])
        loss, _ = weighted_sum(Loss("mae"), hr, field, weights)
    for n, (row, y, x) in enumerate(plan[0]):
        window = np.s_[2 * y : 2 * y + 6, 2 * x : 2 * x + 6]
        there, areas = samples.normalizer.mask[window], samples.pairs.hr_grid.cell_areas()[window]
        values = samples.normalizer.target.inverse(field[n, ..., 0].numpy()).astype(float)
        blocks = [(f * areas * there).reshape(3, 2, 3, 2).sum((1, 3)) for f in (values, np.ones((6, 6)))]
        lr = samples.pairs.read(samples.steps[[row]]).lr[0, y : y + 3, x : x + 3]
        seen = (blocks[1] > 0) & np.isfinite(lr)
        assert seen.sum() > 3
        np.testing.assert_allclose((blocks[0][seen] / blocks[1][seen]), lr[seen], atol=1e-4 * 6)
    for gradient in tape.gradient(loss, network.trainable_variables):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("form", ["multiplicative", "softmax"])
def test_a_residual_network_starts_near_the_interpolated_field(form, tmp_path):
    """All that the constraint changes then is what the interpolation lacks in LR's mean."""
    spec, pairs = spec_of(form), make_pairs(waves(16, 12, 12))
    network, samples = lab(spec, pairs)
    for weight in network.get_layer("output").variables:
        weight.assign(tf.zeros_like(weight))
    inputs, arrays = samples.read(np.arange(4))
    downscaler = Downscaler((network,), "relu")
    interpolated = downscaler.interpolated(samples, arrays.lr)
    lacking = interpolated.reshape(4, 6, 2, 6, 2).mean((2, 4)) - arrays.lr
    found = downscaler(samples, inputs) - interpolated
    expected = -np.repeat(np.repeat(lacking, 2, 1), 2, 2)
    np.testing.assert_allclose(found, expected, atol=0.01)


# What can't be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "data", "model", "words"),
    [
        ("additive", {"scaling": "log"}, {}, "data.scaling is log.*model.constraint=multiplicative"),
        ("additive", {}, {"output_activation": "relu"}, "output_activation is relu.*constraint=multiplicative"),
        ("softmax", {}, {"output_activation": "linear"}, "output_activation is linear.*=auto"),
        ("multiplicative", {}, {"output_activation": "linear"}, "constraint=additive"),
        ("softmax", {"coarsening": "nearest"}, {}, "data.coarsening is nearest.*data.coarsening=area"),
    ],
)
def test_options_that_contradict_a_constraint_are_refused(form, data, model, words):
    plain = {"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 2, **data}}
    with pytest.raises(SpecError, match=words):
        Spec.from_plain({**plain, "model": {"constraint": form, **model}})


@pytest.mark.parametrize(
    ("form", "lowest", "standard_name", "words"),
    [
        ("multiplicative", -3.0, "air_temperature", "falls to -3.*choose additive"),
        ("softmax", -3.0, "", "falls to -3.*choose additive"),
        ("additive", 0.0, "precipitation_flux", "never negative.*choose multiplicative or softmax"),
    ],
)
def test_fields_that_a_constraint_does_not_suit_are_refused(form, lowest, standard_name, words):
    pairs = make_pairs(waves(), standard_name=standard_name)
    with pytest.raises(DataError, match=words):
        check_field(spec_of(form), pairs, lowest)


@pytest.mark.parametrize(
    ("form", "lowest", "standard_name"),
    [("multiplicative", -1e-6, "precipitation_flux"), ("softmax", 260.0, ""), ("additive", 260.0, "air_temperature")],
)
def test_fields_that_a_constraint_suits_pass(form, lowest, standard_name):
    check_field(spec_of(form), make_pairs(waves(), standard_name=standard_name), lowest)
