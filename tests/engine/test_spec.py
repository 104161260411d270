"""The spec: one declaration an option, from the YAML file and the command line and back."""

from __future__ import annotations

import datetime
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
    DataOptions,
    ModelOptions,
    Period,
    Region,
    Source,
    Spec,
    Split,
    TrainingOptions,
    flow_yaml,
    load_yaml,
    with_settings,
)
from tests.engine.option_variants import BASE, variants, with_variant

CHECKOUT = Path(__file__).parents[2]
TARGET = {"path": "hr.nc"}
RECORDED_BEFORE = Path(__file__).with_name("spec_before_renaming.yaml")


def refusal(plain: object) -> str:
    with pytest.raises(SpecError) as caught:
        Spec.from_plain(plain)
    return str(caught.value)


def data_refusal(**given: object) -> str:
    with pytest.raises(SpecError) as caught:
        DataOptions(**{"target": TARGET, "scale": 4, **given})
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
        (None, "the spec is NoneType: expected a mapping with version, data, model, training, launch"),
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
        ({"version": 1}, "data.target is missing: expected a mapping {path: file, glob, list of files or Zarr store"),
        ({"version": 1, "data": {"target": TARGET}}, "data.scale is missing: give the HR cells per LR cell"),
    ],
    ids=str,
)
def test_a_refused_spec_says_why(plain, words):
    assert refusal(plain).startswith(words)


def test_empty_sections_are_defaults():
    assert Spec.from_plain({**BASE, "training": None, "launch": {}}) == Spec.from_plain(BASE)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pairing": "mos"}, "data.lr is missing: pairing mos needs the LR field"),
        ({"time_window": 4}, "data.time_window is 4: expected an odd number, centred on the time step"),
        ({"patch_size": 10}, "data.patch_size is 10: expected a multiple of scale 4, at least 8, or 0 for whole"),
        ({"patch_size": 4}, "data.patch_size is 4: expected a multiple of scale 4, at least 8, or 0 for whole"),
        ({"scale": 1}, "data.scale is 1: expected a whole number from 2 to 64 (HR cells per LR cell)"),
        ({"scale": 2.5}, "data.scale is 2.5: expected a whole number from 2 to 64 (HR cells per LR cell)"),
        ({"target": "hr.nc"}, "data.target is 'hr.nc': expected a mapping {path: file"),
        ({"target": {"path": ""}}, "data.target.path is '': expected a file name, a glob, or a list of file names"),
        ({"target": {"path": ["a", 3]}}, "data.target.path is ['a', 3]: expected a file name"),
        ({"target": {"path": []}}, "data.target.path is []: expected a file name"),
        ({"target": {"path": "a", "variable": 3}}, "data.target.variable is 3: expected the name of a variable"),
        ({"target": {"path": "a", "units": 1}}, "data.target.units is 1: expected a unit as text"),
        ({"target": {"file": "a"}}, "data.target.file is not known: "),
        ({"static": [{"variable": "z"}]}, "data.static[0].path is missing: expected a mapping"),
        ({"region": {"lat": [1, 2]}}, "data.region.lon is missing"),
        ({"region": {"lat": [2, 1], "lon": [0, 1]}}, "data.region.lat is [2, 1]: expected the south edge first"),
        ({"region": {"lat": [1, True], "lon": [0, 1]}}, "data.region.lat is [1, True]: expected two numbers"),
        ({"region": {"lat": [1, 2], "lon": [0, 1, 2]}}, "data.region.lon is [0, 1, 2]: expected two numbers"),
        ({"period": ["2001-01-01"]}, "data.period is ['2001-01-01']: expected two dates [first, last]"),
        ({"period": ["2001-1-1", "2002"]}, "data.period is '2001-1-1': expected two dates [first, last]"),
        ({"period": ["2002", "2001"]}, "data.period is [2002, 2001]: the first date is after the last; swap them"),
        ({"split": {"train": 0.5, "test": 0.2}}, "data.split.validation is missing"),
        ({"split": {"train": 0.5, "validation": 0.5, "test": 0.2}}, "data.split sums to 1.2: expected fractions"),
        ({"split": {"train": 1, "validation": 0.5, "test": 0.2}}, "data.split.train is 1: expected a fraction"),
        ({"split": {"train": 0.5, "validation": 0, "test": 0.2}}, "data.split.validation is 0: expected a fraction"),
        (
            {"split": {"train": 0.5, "validation": ["2001", "2002"], "test": 0.2}},
            "data.split mixes fractions and dates: expected a mapping",
        ),
        (
            {"split": {"train": 0.5, "validation": 0.2, "test": 0.2, "gap": True}},
            "data.split.gap is True: expected a whole number from 0 on (time steps)",
        ),
    ],
    ids=str,
)
def test_data_are_held_against_each_other(given, words):
    assert data_refusal(**given).startswith(words)


def test_a_localized_block_has_no_patches():
    message = refusal({**BASE, "data": {**BASE["data"], "patch_size": 8}, "model": {"localized": True}})
    assert message.startswith("model.localized is true, but data.patch_size is 8: ")
    assert message.endswith("set model.localized=false, or data.patch_size=0")


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
            {"dropout_variant": "mc_spatial"},
            "model.dropout_variant is mc_spatial, but model.dropout_rate is 0: without dropout all members are the "
            "same; set model.dropout_rate=0.1, or model.dropout_variant=vanilla",
        ),
    ],
)
def test_networks_that_make_no_sense_are_refused(given, words):
    assert refusal({**BASE, "model": given}) == words


def test_the_checks_between_sections_hold_for_a_replacement_too():
    spec = Spec.from_plain(BASE)
    assert spec.replace(training={"epochs": 3}).training.epochs == 3
    with pytest.raises(SpecError, match="model.localized is true, but data.patch_size is 8"):
        spec.replace(model={"localized": True}, data={"patch_size": 8})


def test_fractions_that_sum_to_one_but_for_rounding_pass():
    split = Split.parse({"train": 0.7, "validation": 0.1, "test": 0.2}, "data.split")  # 0.7 + 0.1 + 0.2 > 1 in binary
    assert split == Split(0.7, 0.1, 0.2)
    assert split.plain() == {"train": 0.7, "validation": 0.1, "test": 0.2}


def test_dates_are_kept_as_text():
    spec = load_yaml("period: [2001-01-01, 2001-02-30]", "it")  # 30 February: a day of a 360-day calendar
    assert DataOptions(target=TARGET, scale=2, **spec).period == Period("2001-01-01", "2001-02-30")
    years = {"train": ["2001", "2001"], "validation": ["2002", "2002"], "test": ["2003", "2003-06"]}
    assert DataOptions(target=TARGET, scale=2, split=years).split.test == Period("2003", "2003-06")
    refused = data_refusal(split={**years, "train": ["1-01-01", "2001"]})
    assert refused.startswith("data.split.train is '1-01-01': expected two dates")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("9999-12-31", "10000-01-01"),  # the other way round as text
        ("0850", "1850"),
        ("-0850-01-01", "-0849-01-01"),  # as text too
        ("-0001", "0000"),
        ("2001-01-01T06:00", "2001-01-01 12:00"),
        ("2001-01-01T05:59:59", "2001-01-01 06:00"),
        (datetime.date(850, 1, 2), datetime.datetime(850, 1, 3, 6)),
    ],
)
def test_dates_in_order_are_taken_and_the_other_way_round_refused(first, last):
    texts = [date if isinstance(date, str) else date.isoformat() for date in (first, last)]
    assert Period.parse([first, last], "data.period").plain() == texts
    with pytest.raises(SpecError, match="the first date is after the last; swap them"):
        Period.parse([last, first], "data.period")


@pytest.mark.parametrize(
    ("first", "last"), [("2001-06", "2001"), ("2001-06-15", "2001-06"), ("2001-02-30", "2001-02-30")]
)
def test_a_last_date_means_all_that_it_leaves_open(first, last):
    assert Period.parse([first, last], "data.period") == Period(first, last)
    assert Period.parse([last, first], "data.period") == Period(last, first)


@pytest.mark.parametrize(
    "date",
    [
        "850-01-01",
        "2001-13-01",
        "2001-00-01",
        "2001-01-32",
        "2001-01-00",
        "2001-01-01T24:00",
        "2001-01-01T00:60",
        "2001-01-01T00:00:60",
        "2001-1-1",
        "2001-01-01T00:00Z",
        "2001-01-01\n",
        datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2001, 1, 1, 0, 0, 0, 5),
        20010101,
        None,
    ],
)
def test_what_is_no_date_in_any_calendar_is_refused(date):
    with pytest.raises(SpecError, match="expected two dates"):
        Period.parse([date, date], "data.period")


def test_yaml_that_gives_a_key_twice_is_refused():
    with pytest.raises(SpecError, match=r"the spec is not YAML \(line 3 gives data a second time\)"):
        Spec.from_yaml("version: 1\ndata: {}\ndata: {scale: 4}\n")
    with pytest.raises(SpecError, match="line 1 gives scale a second time"):
        load_yaml("{scale: 2, scale: 2}", "it")


@pytest.mark.parametrize(
    ("text", "number"), [("1e-3", 1e-3), ("1E5", 1e5), ("2.5e-4", 2.5e-4), ("-1e3", -1e3), ("+1e-3", 1e-3)]
)
def test_yaml_reads_exponents_without_a_point_as_numbers(text, number):
    assert load_yaml(f"x: {text}", "it") == {"x": number}
    assert isinstance(yaml.safe_load(f"x: {text}")["x"], str) or "." in text  # what it would be without us


def test_yaml_leaves_text_that_looks_like_a_number_alone():
    assert load_yaml("x: '1e-3'", "it") == {"x": "1e-3"}
    assert load_yaml("x: 1e-3-run", "it") == {"x": "1e-3-run"}
    assert load_yaml(flow_yaml({"x": "1e-3"}), "it") == {"x": "1e-3"}


def test_a_title_that_looks_like_a_number_survives_yaml():
    spec = Spec.from_plain({**BASE, "launch": {"title": "1e-3"}})
    assert Spec.from_yaml(spec.to_yaml()) == spec
    assert Spec.from_yaml("version: 1", settings=spec.settings()) == spec


def test_broken_yaml_is_told_with_its_line():
    with pytest.raises(SpecError, match=r"the spec is not YAML \(line 4: .*\): expected lines such as"):
        Spec.from_yaml("version: 1\ndata:\n  scale: [4\nmodel: {}\n")
    with pytest.raises(SpecError, match="the spec is not YAML"):
        Spec.from_yaml("data: !!python/object/apply:os.system ['true']")
    with pytest.raises(SpecError, match="the spec is not YAML"):
        Spec.from_yaml("? [1, {a: 2}]\n: 3")  # a key that can't be one


def test_settings_reach_options_and_their_parts():
    plain = with_settings(
        BASE,
        ["training.learning_rate=1e-3", "data.target.variable=t2m", "data.split={train: .5, validation: .2, test: .3}"],
    )
    spec = Spec.from_plain(plain)
    assert spec.training.learning_rate == 1e-3
    assert spec.data.target == Source("hr.nc", "t2m")
    assert spec.data.split == Split(0.5, 0.2, 0.3)
    assert "variable" not in BASE["data"]["target"]  # what was given is left alone


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epochs=3", "--set epochs=3: expected section.option=value, as in training.epochs=30"),
        ("training.epochs", "--set training.epochs: expected section.option=value"),
        ("training..epochs=3", "--set training..epochs=3: expected section.option=value"),
        ("data.scale.x=3", "--set data.scale.x=3: scale has no parts; expected section.option=value"),
        ("training.epochs=[", "--set training.epochs=[ is not YAML"),
        ("training.epoch=3", "training.epoch is not an option: did you mean 'epochs'?"),
        ("trainig.epochs=3", "trainig is not a section: did you mean 'training'?"),
        ("data.target.variabel=t", "data.target.variabel is not known: did you mean 'variable'?"),
    ],
)
def test_a_refused_setting_says_why(setting, words):
    with pytest.raises(SpecError) as caught:
        Spec.from_plain(with_settings(BASE, [setting]))
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_option_is_refused_with_its_new_name(old, new):
    section, name = old.split(".")
    message = f"{old} has a new name: write {new} instead"
    assert refusal({**BASE, section: {name: "x"}}) == message
    assert refusal(with_settings(BASE, [f"{old}=x"])) == message
    new_section, new_name = new.split(".")
    assert new_name in SECTIONS[new_section].declared()


def test_a_spec_recorded_before_options_were_renamed_still_opens(tmp_path):
    """The file is as the version before wrote it: every option, in its order, with the old names."""
    text = RECORDED_BEFORE.read_text()
    spec = Spec.from_yaml(text.replace("lr_scaling:", "learning_rate_scaling:").replace("  target: hpc", "  site: hpc"))
    assert Spec.read_recorded(RECORDED_BEFORE) == spec
    assert (spec.launch.site, spec.training.learning_rate_scaling) == ("hpc", "sqrt")
    assert [
        f"{section}.{name}" for section, group in yaml.safe_load(text).items() if section != "version" for name in group
    ] == [
        {new: old for old, new in RENAMED.items()}.get(f"{section}.{name}", f"{section}.{name}")
        for section, kind in SECTIONS.items()
        for name in kind.declared()
    ]
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


def test_files_of_a_source(tmp_path):
    for name in ("b.nc", "a.nc", "c.txt"):
        (tmp_path / name).touch()
    assert Source("*.nc").within(tmp_path).files() == [f"{tmp_path}/a.nc", f"{tmp_path}/b.nc"]
    listed = Source(("none.nc", "*.txt")).within(tmp_path)
    assert listed.files() == [f"{tmp_path}/none.nc", f"{tmp_path}/c.txt"]


def test_a_region_keeps_its_sides():
    region = Region.parse({"lat": [36, 44], "lon": [-10, 5]}, "data.region")
    assert region == Region((36.0, 44.0), (-10.0, 5.0))
    assert region.plain() == {"lat": [36.0, 44.0], "lon": [-10.0, 5.0]}


def test_specs_runs_and_launchers_do_not_bring_tensorflow():
    modules = ["engine.spec", "engine.runs", "engine.launch.api", "engine.cli", "engine.check"]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print(*sorted({'tensorflow', 'keras', 'horovod'} & set(sys.modules)), 'looked')"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["looked"]
