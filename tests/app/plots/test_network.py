"""The picture of a network: a slab and a column of facts for each part."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from app.plots.network import GROUND, network
from engine.network_part import MeasuredPart

SVG = "{http://www.w3.org/2000/svg}"


def part(name: str, **given: Any) -> MeasuredPart:
    plain = {"does": "3 × 3 convolution", "y": 12, "x": 16, "channels": 8, "parameters": 1234, "times": 1}
    return MeasuredPart(**{"name": name, **plain, "sees": 3, "sees_km": 330.4, **given})


def drawn(*parts: MeasuredPart) -> ElementTree.Element:
    return ElementTree.fromstring(network(parts))[0]


def texts(svg: ElementTree.Element) -> list[str | None]:
    return [text.text for text in svg.iter(f"{SVG}text")]


def top(group: ElementTree.Element) -> float:
    corners = [pair.split(",") for face in group.iter(f"{SVG}polygon") for pair in face.attrib["points"].split()]
    return min(float(y) for _, y in corners)


def test_each_part_has_its_facts():
    svg = drawn(part("entry"), part("recurrence", sees=None, sees_km=None, parameters=0))
    said = texts(svg)
    assert said[6:12] == ["entry", "12 × 16", "8", "1\u202f234", "3", "330"]
    assert said[12:] == ["LSTM", "12 × 16", "8", "–", "all", "all"]
    assert said[1:6] == ["cells", "channels", "parameters", "sees (LR cells)", "sees (km)"]


def test_two_networks_are_two_pictures():
    first, second = ElementTree.fromstring(
        network([part("inputs"), part("field"), part("inputs", network="velocity"), part("tail", network="velocity")])
    )
    assert [each.attrib["aria-label"] for each in (first, second)] == ["the network", "the network of the velocity"]
    assert [texts(each)[0] for each in (first, second)] == [None, "velocity"]
    assert (texts(first)[12], texts(second)[12]) == ("field", "tail")


def test_finer_fields_are_higher_and_stand_on_the_same_ground():
    lr, hr = drawn(part("entry"), part("tail", y=48, x=64)).findall(f"{SVG}g")
    assert 0 <= top(hr) < top(lr) < GROUND


def test_a_part_that_comes_many_times_is_some_slabs():
    once, many = drawn(part("block"), part("blocks 1–9", does="a <b>", times=9)).findall(f"{SVG}g")
    assert len(once.findall(f"{SVG}polygon")) == 3  # front, top, side
    assert len(many.findall(f"{SVG}polygon")) == 4 * 3
    assert many.find(f"{SVG}title").text == "9 × a <b>"
    assert once.find(f"{SVG}title").text == "3 × 3 convolution"


@pytest.mark.parametrize(
    ("names", "ways"),
    [
        (["inputs", "entry", "output"], 0),
        (["inputs", "entry", "output", "field"], 1),  # around all, from the inputs
        (["inputs", "entry", "down 1", "down 2", "bottom", "up 2", "up 1", "field"], 3),
    ],
)
def test_ways_around(names, ways):
    svg = drawn(*map(part, names))
    assert len([path for path in svg.iter(f"{SVG}path") if "around" in path.attrib["class"]]) == ways


def test_parts_lie_side_by_side_within_the_picture():
    svg = drawn(*(part(f"p{number}") for number in range(16)))
    names = [text for text in svg.iter(f"{SVG}text") if text.attrib.get("class") == "name"]
    places = [float(text.attrib["x"]) for text in names]
    assert all(b - a == pytest.approx(53, abs=0.2) for a, b in pairwise(places))
    assert float(svg.attrib["width"]) == pytest.approx(940)


def test_no_parts_make_an_empty_picture():
    assert len(texts(drawn())) == 6
