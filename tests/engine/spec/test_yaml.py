"""A spec as text: strict YAML, and `--set section.option=value`."""

from __future__ import annotations

import pytest
import yaml

from engine.errors import SpecError
from engine.spec import Source, Spec, Split, flow_yaml, load_yaml, with_settings
from tests.engine.option_variants import BASE


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


def test_broken_yaml_is_refused_with_its_line():
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
    assert "variable" not in BASE["data"]["target"]  # what was given stays as it was


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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: !!int word", "line 2: 'word' is no int"),
        ("b: !!timestamp word", "line 1: 'word' is no timestamp"),
        ("b: !!bool word", "line 1: 'word' is no bool"),
        ("b: 0x_", "line 1: '0x_' is no int"),
        ("b: " + "9" * 5000, "line 1: a number has 5,000 digits"),
        ("b: 0x" + "f" * 5000, "line 1: a number has 5,002 digits"),
        ("b: " + "9" * 400, "line 1: a number has 400 digits"),
        ("&a [*a]", "an alias refers to itself, or there are more than 1,000,000 values"),
        ("&a {b: {c: *a}}", "an alias refers to itself, or there are more than 1,000,000 values"),
        ("[" * 5000 + "]" * 5000, "it is nested too deep"),
        (r'b: "\ud800"', r"line 1: '\ud800' has a character that is no Unicode"),
    ],
)
def test_yaml_that_python_cannot_hold_is_refused(text, fault):
    with pytest.raises(SpecError) as caught:
        load_yaml(text, "it")
    assert str(caught.value) == f"it is not YAML ({fault}): expected lines such as 'training: {{epochs: 30}}'"


def test_aliases_that_repeat_each_other_are_refused_before_they_fill_the_memory():
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(SpecError, match="more than 1,000,000 values"):
        load_yaml("\n".join(lines), "it")


def test_words_for_yes_and_no_are_text_where_text_is_due():
    plain = {**BASE, "data": {**BASE["data"], "target": {"path": "hr.nc", "variable": "NO"}}}
    text = "version: 1\ndata: {target: {path: hr.nc, variable: NO}, scale: 4}\nmodel: {localized: off, residual: Yes}"
    spec = Spec.from_yaml(text)
    assert spec.data.target == Spec.from_plain(plain).data.target == Source("hr.nc", "NO")
    assert (spec.model.localized, spec.model.residual) == (False, True)
    assert Spec.from_yaml(spec.to_yaml()) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "the spec is empty"), ("[1]", "the spec is list"), ("3", "the spec is int"), ("abc", "the spec is str")],
)
def test_settings_on_what_is_no_spec_are_refused_like_it(text, words):
    with pytest.raises(SpecError) as caught:
        Spec.from_yaml(text, settings=["training.epochs=3"])
    assert str(caught.value) == f"{words}: expected a mapping with version, data, model, training, launch"


def test_a_title_that_can_not_be_written_is_refused():
    with pytest.raises(SpecError, match="launch.title is '.ud800': expected text"):
        Spec.from_plain({**BASE, "launch": {"title": "\ud800"}})
