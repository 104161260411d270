"""The spec: one declaration an option, from the YAML file and the command line and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.errors import SpecError
from engine.spec import (
    RENAMED,
    SECTIONS,
    ModelOptions,
    Spec,
    TrainingOptions,
    with_settings,
)
from tests.engine.option_variants import BASE, variants, with_variant

CHECKOUT = Path(__file__).parents[3]
TARGET = {"path": "hr.nc"}
RECORDED_BEFORE = Path(__file__).with_name("recorded_before_renaming.yaml")


def refusal(plain: object) -> str:
    with pytest.raises(SpecError) as caught:
        Spec.from_plain(plain)
    return str(caught.value)


@pytest.mark.parametrize(("path", "sections"), variants().items(), ids=str)
def test_every_option_survives_yaml_and_the_command_line(path, sections):
    section, name = path.split(".")
    spec = Spec.from_plain(with_variant(sections))
    group = getattr(spec, section)
    assert getattr(group, name) != SECTIONS[section].declared()[name].default
    assert group.plain()[name] == sections[section][name]
    assert Spec.from_yaml(spec.to_yaml()) == spec
    assert Spec.from_plain(spec.changed()) == spec
    assert Spec.from_yaml("version: 1", settings=spec.settings()) == spec
    assert Spec.from_plain(json.loads(json.dumps(spec.plain()))) == spec
    assert spec != Spec.from_plain(BASE) or path == "model.localized"


def test_the_plain_spec_has_every_option():
    plain = Spec.from_plain(BASE).plain()
    assert list(plain) == ["version", "data", "model", "training", "launch"]
    assert {section: set(plain[section]) for section in SECTIONS} == {
        section: set(kind.declared()) for section, kind in SECTIONS.items()
    }


def test_changed_holds_what_a_user_would_write():
    spec = Spec.from_plain({"version": 1, "data": {"target": TARGET, "scale": 4}, "training": {"epochs": 3}})
    assert spec.changed() == {
        "version": 1,
        "data": {"target": TARGET, "scale": 4},
        "training": {"epochs": 3},
    }


def test_every_option_has_a_sentence_of_explanation_and_an_expectation():
    for kind in SECTIONS.values():
        for name, option in kind.declared().items():
            assert option.doc.endswith("."), f"{kind.SECTION}.{name}"
            assert option.expected(), f"{kind.SECTION}.{name}"


def test_defaults_pass_their_own_checks():
    assert ModelOptions().changed() == {}
    assert TrainingOptions().changed() == {}


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ([], "the spec is list: expected a mapping with version, data, model, training, launch"),
        (None, "the spec is empty: expected a mapping with version, data, model, training, launch"),
        ({"version": 1, "modle": {}}, "modle is not a section: did you mean 'model'?"),
        ({"data": BASE["data"]}, "version is None: expected version: 1"),
        ({**BASE, "version": 2}, "version is 2: expected version: 1"),
        ({**BASE, "version": True}, "version is True: expected version: 1"),
        ({**BASE, "version": "1"}, "version is '1': expected version: 1"),
        ({**BASE, "model": "resnet"}, "model is 'resnet': expected a mapping of options"),
        ({**BASE, "model": {"n_filter": 8}}, "model.n_filter is not an option: did you mean 'n_filters'?"),
        ({**BASE, "model": {3: 8}}, "model.3 is not an option: known are backbone, "),
        ({**BASE, "training": {"batch_size": True}}, "training.batch_size is True: expected a whole number from 1 to "),
        ({**BASE, "training": {"epochs": 0}}, "training.epochs is 0: expected a whole number from 1 to 100000"),
        ({**BASE, "training": {"learning_rate": 0}}, "training.learning_rate is 0: expected a number above 0, at most"),
        ({**BASE, "launch": {"site": "a b"}}, "launch.site is 'a b': expected text matching "),
        (
            {"version": 1},
            "data.target is missing: expected a mapping {path: file, glob, list of files, Zarr store or URL",
        ),
        ({"version": 1, "data": {"target": TARGET}}, "data.scale is missing: give the HR cells per LR cell"),
    ],
    ids=str,
)
def test_a_refused_spec_says_why(plain, words):
    assert refusal(plain).startswith(words)


def test_empty_sections_are_defaults():
    assert Spec.from_plain({**BASE, "training": None, "launch": {}}) == Spec.from_plain(BASE)


def test_a_localized_block_has_no_patches():
    message = refusal({**BASE, "data": {**BASE["data"], "patch_size": 8}, "model": {"localized": True}})
    assert message.startswith("model.localized is true, but data.patch_size is 8: ")
    assert message.endswith("set model.localized=false, or data.patch_size=0")


def test_members_of_ensemble_and_draws():
    assert Spec.from_plain(BASE).members == 0
    assert Spec.from_plain(BASE).replace(training={"ensemble": 3}).members == 3
    drawn = {**BASE, "model": {"dropout_rate": 0.1, "dropout_variant": "mc_vanilla", "members": 4}}
    assert Spec.from_plain(drawn).members == 4
    assert Spec.from_plain(drawn).replace(training={"ensemble": 3}).members == 12


def test_networks_of_an_ensemble_have_seeds_of_their_own():
    spec = Spec.from_plain({**BASE, "training": {"ensemble": 3, "seed": 2**31 - 2}})
    assert [spec.of_network(number).training.seed for number in range(3)] == [2**31 - 2, 2**31 - 1, 0]
    assert spec.of_network(0) == spec


def test_flow_matching_trains_the_mean_of_each_network_before_it():
    spec = Spec.from_plain({**BASE, "training": {"learning": "flow-matching", "ensemble": 2, "seed": 5}})
    assert spec.trainings == (2, 0, 3, 1)
    trained = [spec.of_network(number).training for number in spec.trainings]
    assert [(each.learning, each.seed) for each in trained] == [
        ("supervised", 5),
        ("flow-matching", 5),
        ("supervised", 6),
        ("flow-matching", 6),
    ]
    assert spec.members == 2 * spec.model.members
    assert spec.replace(training={"start_from": "another"}).trainings == (0, 1)
    assert Spec.from_plain({**BASE, "training": {"ensemble": 2}}).trainings == (0, 1)


@pytest.mark.parametrize(
    ("model", "loss", "words"),
    [
        ({"noise": 2}, "crps", "training.loss is crps"),
        ({"noise": 2}, "mae", "model.noise is 2"),
        ({"dropout_rate": 0.1, "dropout_variant": "mc_spatial"}, "mae", "model.dropout_variant is mc_spatial"),
    ],
)
def test_flow_matching_draws_members_alone(model, loss, words):
    plain = {**BASE, "model": model, "training": {"learning": "flow-matching", "loss": loss}}
    message = refusal(plain)
    assert message.startswith(f"training.learning is flow-matching, but {words}: ")
    assert message.endswith(", or training.learning=supervised")


def test_a_fourier_filter_has_no_patches():
    model = {"backbone": "fno", "localized": False}
    assert refusal({**BASE, "data": {**BASE["data"], "patch_size": 8}, "model": model}) == (
        "model.backbone is fno, but data.patch_size is 8: the waves of a patch have other lengths than those of the "
        "whole field; set model.backbone=resnet, or data.patch_size=0"
    )


@pytest.mark.parametrize("backbone", ["unet", "convnext"])
def test_a_recurrent_network_has_its_own_backbones(backbone):
    model = {"backbone": backbone, "upsampling": "pin"}
    plain = {**BASE, "data": {**BASE["data"], "time_window": 3}, "model": model}
    message = refusal(plain)
    assert message.startswith(f"model.temporal is recurrent, but model.backbone is {backbone}: ")
    assert message.endswith("set model.temporal=stacked, or model.backbone=resnet")
    assert not Spec.from_plain({**plain, "model": {**model, "temporal": "stacked"}}).is_recurrent
    assert not Spec.from_plain({**plain, "data": BASE["data"]}).is_recurrent  # a window of one step needs no recurrence
    assert Spec.from_plain({**plain, "model": {"backbone": "densenet"}}).is_recurrent


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"backbone": "convnext", "separable": True},
            "model.separable is true, but model.backbone is convnext: its convolutions are depthwise already; set "
            "model.separable=false, or model.backbone=resnet",
        ),
        (
            {"backbone": "swin", "separable": True},
            "model.separable is true, but model.backbone is swin: its blocks have no convolutions; set "
            "model.separable=false, or model.backbone=resnet",
        ),
        (
            {"dropout_variant": "mc_spatial"},
            "model.dropout_variant is mc_spatial, but model.dropout_rate is 0: without dropout all members are the "
            "same; set model.dropout_rate=0.1, or model.dropout_variant=vanilla",
        ),
    ],
)
def test_networks_that_make_no_sense_are_refused(given, words):
    assert refusal({**BASE, "model": given}) == words


@pytest.mark.parametrize(
    ("loss", "noise", "words"),
    [
        (
            "crps",
            0,
            "training.loss is crps, but model.noise is 0: without noise all members are the same; set model.noise=4, "
            "or a model.dropout_variant that begins with mc_",
        ),
        (
            "mae",
            2,
            "model.noise is 2, but training.loss is mae: without crps a network learns to ignore noise; set "
            "training.loss=crps, or model.noise=0",
        ),
    ],
)
def test_noise_and_crps_go_together(loss, noise, words):
    assert refusal({**BASE, "model": {"noise": noise}, "training": {"loss": loss}}) == words


def test_the_checks_between_sections_hold_for_a_replacement_too():
    spec = Spec.from_plain(BASE)
    assert spec.replace(training={"epochs": 3}).training.epochs == 3
    with pytest.raises(SpecError, match="model.localized is true, but data.patch_size is 8"):
        spec.replace(model={"localized": True}, data={"patch_size": 8})


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_option_is_refused_with_its_new_name(old, new):
    section, name = old.split(".")
    message = f"{old} has a new name: write {new} instead"
    assert refusal({**BASE, section: {name: "x"}}) == message
    assert refusal(with_settings(BASE, [f"{old}=x"])) == message
    new_section, new_name = new.split(".")
    assert new_name in SECTIONS[new_section].declared()


def test_a_spec_recorded_before_options_were_renamed_still_opens(tmp_path):
    """The file is as the version before wrote it: every option there was, in its order, with the old names."""
    text = RECORDED_BEFORE.read_text()
    spec = Spec.from_yaml(text.replace("lr_scaling:", "learning_rate_scaling:").replace("  target: hpc", "  site: hpc"))
    assert Spec.read_recorded(RECORDED_BEFORE) == spec
    assert (spec.launch.site, spec.training.learning_rate_scaling) == ("hpc", "sqrt")
    recorded = [
        f"{section}.{name}" for section, group in yaml.safe_load(text).items() if section != "version" for name in group
    ]
    declared = [
        {new: old for old, new in RENAMED.items()}.get(f"{section}.{name}", f"{section}.{name}")
        for section, kind in SECTIONS.items()
        for name in kind.declared()
    ]
    added = {"model.scales", "model.noise", "training.members", "training.ensemble", "model.sampling_steps"}
    added |= {"data.target_v", "data.lr_v", "data.stations"}
    assert recorded == [name for name in declared if name not in added]
    with pytest.raises(SpecError, match="lr_scaling has a new name"):  # the same file, given by a user
        Spec.read(RECORDED_BEFORE)


def test_relative_paths_start_at_the_folder_of_the_spec(tmp_path):
    plain = {
        "version": 1,
        "data": {
            "target": {"path": "hr.nc"},
            "pairing": "mos",
            "lr": {"path": ["x/*.nc", "/abs/y.nc"]},
            "predictors": [{"path": "../p.nc"}],
            "static": [{"path": "dem.nc"}],
            "scale": 2,
        },
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(plain))
    spec = Spec.read(tmp_path / "spec.yaml", ["training.epochs=7"])
    assert spec.data.target.path == f"{tmp_path}/hr.nc"
    assert spec.data.lr.path == (f"{tmp_path}/x/*.nc", "/abs/y.nc")
    assert spec.data.predictors[0].path == f"{tmp_path}/../p.nc"
    assert spec.data.static[0].path == f"{tmp_path}/dem.nc"
    assert spec.training.epochs == 7
    assert Spec.from_yaml(spec.to_yaml(), Path("/elsewhere")) == spec  # absolute paths stay


def test_reading_what_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match="none.yaml does not exist: give the path of a spec, a YAML file"):
        Spec.read(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="can't be read .*: give the path of a spec, a YAML file"):
        Spec.read(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SpecError, match="can't be read"):
        Spec.read(tmp_path / "bytes.yaml")


def test_specs_runs_and_launchers_do_not_bring_tensorflow():
    modules = ["engine.spec", "engine.runs", "engine.launch.api", "engine.cli", "engine.check"]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print(*sorted({'tensorflow', 'keras', 'horovod'} & set(sys.modules)), 'done')"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["done"]
