"""Two components of a vector in one network: paired, built, trained, written, scored and applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import xarray as xr
import yaml

from engine.check import shape_of as shape_in_check
from engine.cli import main
from engine.data.normalizer import Normalizer, fit_normalizer, load_hr_template
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples
from engine.errors import DataError, GridError, SpecError, UnitError
from engine.evaluation.predict import Downscaler
from engine.evaluation.products import second_beside
from engine.files import sha256
from engine.models.architecture import count_parameters
from engine.spec import Spec
from engine.training import assembly
from engine.training.losses import Loss, summed_over_components, weighted_sum
from tests.engine.data.mock import make_field, write_field
from tests.engine.train_here import train_here

PLAIN: dict[str, Any] = {
    "version": 1,
    "data": {"target": {"path": "u.nc"}, "target_v": {"path": "v.nc"}, "scale": 2},
    "model": {"n_filters": 4, "n_blocks": 1},
    "training": {"epochs": 1},
}
NETWORKS = [
    {"upsampling": "spc"},
    {"upsampling": "rc", "backbone": "convnext", "localized": False},
    {"upsampling": "dc", "backbone": "densenet", "constraint": "additive"},
    {"upsampling": "pin", "backbone": "unet"},
    {"upsampling": "implicit", "backbone": "convnet"},
    {"upsampling": "spc", "backbone": "swin", "n_filters": 16},
    {"upsampling": "pin", "backbone": "fno", "localized": False},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vector")
    write_field(folder / "u.nc", ny=8, nx=12, times=24, units="m s-1", name="ua", missing=0.05)
    v = make_field(ny=8, nx=12, times=24, units="km h-1", name="va", seed=7)
    v["va"] = (3 * (v["va"] - 280)).assign_attrs(v["va"].attrs)
    v["va"][{"time": 3, "lat": 1, "lon": 2}] = np.nan
    v.to_netcdf(folder / "v.nc")
    return folder


def spec_of(folder: Path, **sections: dict[str, Any]) -> Spec:
    plain = {name: {**PLAIN.get(name, {}), **sections.get(name, {})} for name in ("data", "model", "training")}
    return Spec.from_plain({"version": 1, **plain}, folder)


@pytest.fixture(scope="module")
def pairs(files: Path) -> Pairs:
    return pair(spec_of(files).data)


@pytest.fixture(scope="module")
def normalizer(pairs: Pairs) -> Normalizer:
    return fit_normalizer(pairs, "standard")


def test_both_are_read_in_one_unit_and_missing_where_either_is(files, pairs):
    block = pairs.read(np.array([3, 0]))
    with xr.open_dataset(files / "u.nc") as u, xr.open_dataset(files / "v.nc") as v:
        u, v = u["ua"].values[[3, 0]], v["va"].values[[3, 0]] / 3.6
    missing = np.isnan(u) | np.isnan(v)
    assert missing[0].sum() == missing[1].sum() + 1  # the value of v that is missing at that step alone
    for found, expected in ((block.hr, u), (block.partner.hr, v)):
        np.testing.assert_allclose(found, np.where(missing, np.nan, expected), rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(block.lr), np.isnan(block.partner.lr))
    swapped = pairs.swapped.read(np.array([3, 0]))
    np.testing.assert_array_equal(swapped.hr, block.partner.hr)
    np.testing.assert_array_equal(swapped.partner.lr, block.lr)
    assert any("'km h-1' to 'm s-1' (× 0.277778)" in note for note in pairs.notes)


def test_each_component_has_a_transform_of_its_own_that_is_kept(pairs, normalizer, tmp_path):
    u, v = (np.concatenate([pairs.read(pairs.parts.train).components[k].hr.ravel()]) for k in range(2))
    for values, transform in zip((u, v), normalizer.components, strict=True):
        assert transform.target.offset == pytest.approx(np.nanmean(values, dtype=float), abs=1e-4)
        assert transform.target.divisor == pytest.approx(np.nanstd(values, dtype=float), rel=1e-4)
    normalizer.save(tmp_path / "scaling.nc", pairs)
    loaded, template = Normalizer.load(tmp_path / "scaling.nc"), load_hr_template(tmp_path / "scaling.nc")
    assert [each.target for each in loaded.components] == [each.target for each in normalizer.components]
    assert loaded.partner.residual_std == normalizer.partner.residual_std
    np.testing.assert_array_equal(loaded.partner.mask, normalizer.mask)
    assert (template.partner.name, template.partner.attrs["units"]) == ("va", "m s-1")


@pytest.mark.parametrize(
    "model", NETWORKS, ids=lambda model: f"{model.get('backbone', 'resnet')}-{model['upsampling']}"
)
def test_a_network_begins_as_the_interpolation_of_both_and_learns_from_both(files, pairs, normalizer, model):
    spec = spec_of(files, model=model)
    assembly.make_reproducible(spec)
    network = assembly.build_network(spec, pairs, normalizer)
    assert network.output_shape[-1] == 2
    counted = count_parameters(spec.model, assembly.shape_of(spec, pairs, normalizer))
    assert sum(np.prod(w.shape) for w in network.trainable_variables) == sum(counted.values())
    assert shape_in_check(spec, pairs) == assembly.shape_of(spec, pairs, normalizer)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.test)
    rows = np.arange(2)
    inputs, block = samples.read(rows)
    downscaler = Downscaler.of([network], spec, samples)
    predicted = downscaler.predict_components(samples, inputs)  # (component, 1, sample, y, x)
    if "constraint" not in model:
        for found, of in zip(predicted, block.components, strict=True):
            np.testing.assert_allclose(found[0], downscaler.interpolated(samples, of.lr), atol=2e-3)
    losses = Loss.of_components(spec.training, normalizer)
    inputs, hr = samples.load(rows)
    with tf.GradientTape() as tape:
        field = network([inputs, samples.static[None]], training=True)
        total, _ = summed_over_components(losses, tf.constant(hr), field, tf.constant(samples.areas[None, ..., None]))
    gradients = tape.gradient(total, network.trainable_variables)
    last = [gradient for gradient, w in zip(gradients, network.trainable_variables) if "output" in w.path]  # noqa: B905
    assert all(np.isfinite(g.numpy()).all() and np.abs(g.numpy()).reshape(-1, 2).max(0).min() > 0 for g in last)
    assert last


@pytest.mark.parametrize("name", ["mae", "dssim", "spectral", "quantile"])
def test_the_loss_is_the_mean_of_those_of_the_components(name, files, normalizer):
    losses = Loss.of_components(spec_of(files, training={"loss": name}).training, normalizer)
    rng = np.random.default_rng(0)
    hr, field = (tf.constant(rng.normal(size=(2, 16, 16, 2)), tf.float32) for _ in range(2))
    weights = tf.ones((1, 16, 16, 1))
    total, weight = summed_over_components(losses, hr, field, weights)
    each = [
        np.divide(*weighted_sum(loss, hr[..., k : k + 1], field[..., k : k + 1], weights))
        for k, loss in enumerate(losses)
    ]
    assert float(total / weight) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize(
    ("sections", "option"),
    [
        ({"data": {"scaling": "log"}}, "data.scaling"),
        ({"model": {"output_activation": "relu"}}, "model.output_activation"),
        ({"model": {"constraint": "softmax"}}, "model.constraint"),
        ({"model": {"dropout_variant": "mc_vanilla", "dropout_rate": 0.1}}, "model.dropout_variant"),
        ({"model": {"upsampling": "implicit", "localized": False, "scales": [2, 3]}}, "model.scales"),
        ({"training": {"learning": "adversarial"}}, "training.learning"),
        ({"training": {"learning": "flow-matching"}}, "training.learning"),
        ({"training": {"loss": "bernoulli_gamma"}}, "training.loss"),
        ({"training": {"ensemble": 2}}, "training.ensemble"),
        ({"data": {"lr": {"path": "lr.nc"}}}, "data.lr_v"),
    ],
)
def test_what_two_components_cannot_have_is_refused_by_name(sections, option, files):
    with pytest.raises(SpecError, match=option):
        spec_of(files, **sections)


def test_components_that_do_not_belong_together_are_refused(files, tmp_path):
    def paired(name: str, **v: Any) -> Pairs:
        standard_name, path = v.pop("standard_name", "northward_wind"), tmp_path / name
        dataset = make_field(**{"ny": 8, "nx": 12, "times": 24, "units": "m s-1", "name": "va", **v})
        dataset["va"].attrs["standard_name"] = standard_name
        dataset.to_netcdf(path)
        return pair(spec_of(files, data={"target_v": {"path": str(path)}}).data)

    assert paired("good.nc").partner is not None
    with pytest.raises(GridError, match=r"data\.target_v is on another grid"):
        paired("west.nc", west=0.25)
    with pytest.raises(UnitError, match=r"data\.target_v is in 'K'"):
        paired("kelvin.nc", units="K")
    with pytest.raises(DataError, match="exchange them"):
        paired("east.nc", standard_name="eastward_wind")


@pytest.mark.slow
def test_a_run_of_a_vector_is_trained_scored_verified_and_applied(files, tmp_path, capsys):
    (files / "spec.yaml").write_text(yaml.safe_dump(PLAIN))
    run = train_here(files / "spec.yaml", tmp_path / "runs")
    capsys.readouterr()
    with xr.open_dataset(run.results) as results:
        results = results.load()
    for name in ("hr", "interpolated", "downscaled", "lr"):
        assert results[name].attrs["units"] == results[f"{name}_v"].attrs["units"] == "m s-1"
        assert results[name].shape == results[f"{name}_v"].shape
    np.testing.assert_array_equal(np.isnan(results["hr"]), np.isnan(results["hr_v"]))
    scores = json.loads(run.scores_file.read_text())
    error = results["downscaled_v"] - results["hr_v"]
    step_rmse = np.sqrt((error**2).mean(("y", "x")))
    assert scores["second"]["downscaled"]["rmse"]["mean"] == pytest.approx(float(step_rmse.mean()), rel=1e-4)
    assert {"rmse", "speed_bias", "direction_error", "vorticity_rmse"} <= set(scores["vector"]["downscaled"])
    assert {"climatology", "bias_corrected"} <= set(scores["second"]) & set(scores["vector"])
    main(["verify", run.id, "--store", str(tmp_path / "runs"), "--json"])
    facts = json.loads(capsys.readouterr().out)[run.id]
    assert facts["vector"]["downscaled"] == pytest.approx(scores["vector"]["downscaled"], nan_ok=True)
    assert facts["second"]["all"]["downscaled"]["mae"] > 0
    main(["verify", run.id, "--store", str(tmp_path / "runs"), "--csv"])
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    numbers = {tuple(row[1:5]): float(row[5]) for row in rows[1:]}
    assert numbers["vector", "", "downscaled", "rmse"] == pytest.approx(scores["vector"]["downscaled"]["rmse"])
    assert numbers["second component", "all", "downscaled", "mae"] == facts["second"]["all"]["downscaled"]["mae"]
    for path in (baselines := (run.baselines, second_beside(run.baselines))):
        path.unlink()
    main(["verify", run.id, "--store", str(tmp_path / "runs")])  # fits them anew
    capsys.readouterr()
    assert json.loads(run.scores_file.read_text()) == scores
    manifest = json.loads(run.scores_file.with_name("manifest.json").read_text())
    assert [manifest[path.name]["sha256"] for path in baselines] == [sha256(path) for path in baselines]
    lr = {
        name: results[field].rename(y_lr="lat", x_lr="lon").rename(name) for name, field in (("a", "lr"), ("b", "lr_v"))
    }
    xr.Dataset(lr).to_netcdf(tmp_path / "lr.nc")
    paths = [str(tmp_path / "lr.nc"), str(tmp_path / "out.nc")]
    main(["downscale", run.id, *paths, "--variable", "a,b", "--store", str(tmp_path / "runs")])
    with xr.open_dataset(tmp_path / "out.nc") as found:
        for name in ("downscaled", "downscaled_v"):
            np.testing.assert_allclose(found[name], results[name], atol=1e-4, err_msg=name)
