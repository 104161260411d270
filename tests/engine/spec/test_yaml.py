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
