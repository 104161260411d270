"""Errors: a text for people, and the same facts as fields for programs."""

from __future__ import annotations

import pytest

from engine.errors import MesoscopeError, SiteError, SpecError
from engine.launch.sites import Site
from engine.spec import LaunchOptions, Spec, with_settings
from tests.engine.option_variants import BASE


@pytest.mark.parametrize(
    ("fields", "text", "remedy"),
    [
        ({}, "x is 3", ""),
        ({"hint": "expected 4"}, "x is 3: expected 4", "expected 4"),
        ({"action": "set x=4"}, "x is 3: set x=4", "set x=4"),
        ({"hint": "expected 4", "action": "set x=4"}, "x is 3: expected 4; set x=4", "expected 4; set x=4"),
    ],
    ids=str,
)
def test_the_text_is_made_of_the_fields(fields, text, remedy):
    error = MesoscopeError("x is 3", **fields)
    assert (str(error), error.remedy, error.problem) == (text, remedy, "x is 3")


@pytest.mark.parametrize(
    ("setting", "option"),
    [
        ("training.epochs=0", "training.epochs"),
        ("model.backbone=resnett", "model.backbone"),
        ("data.target.variable=3", "data.target"),  # of a part of the option's value
        ("data.split={train: 0.9, validation: 0.9, test: 0.9}", "data.split"),
        ("data.static=[{path: 3}]", "data.static"),
        ("data.time_window=4", "data.time_window"),
        ("data.lr_scale=4", ""),  # no option at all
        ("launch.target=hpc", "launch.site"),
        ("model.localized=true", "model.localized"),
    ],
)
def test_a_refused_spec_names_the_option(setting, option):
    with pytest.raises(SpecError) as caught:
        Spec.from_plain(with_settings(BASE, ["data.patch_size=4", setting]))
    assert caught.value.option == option


def test_a_site_names_the_option_that_it_refuses():
    with pytest.raises(SiteError) as caught:
        Site.called("box", {"kind": "ssh", "host": "box"}).accept(LaunchOptions(nodes=2, processes=2))
    assert (caught.value.option, caught.value.action) == ("launch.nodes", "set launch.nodes=1")
