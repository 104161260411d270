"""Groups of options on an invented group: what is refused, in which words, and how values compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest

from engine.errors import SpecError
from engine.options import Choice, Flag, Options, Real, Text, Value, Values, Whole, did_you_mean, parts_of, to_plain


@dataclass(frozen=True)
class Box:
    EXPECTED: ClassVar[str] = "a mapping {low, high}"
    low: int
    high: int = 9

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        return cls(**parts_of(cls, value, where))

    def plain(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


class Oven(Options):
    SECTION = "oven"

    trays = Whole(2, bounds=(1, 4), unit="trays", doc="Trays.")
    heat = Real(180.0, bounds=(0, 300), inclusive_bounds=(False, True), unit="°C", doc="Heat.")
    fan = Flag(False, doc="Fan.")
    label = Text("", regex=r"^[a-z]*$", doc="Label.")
    mode = Choice(["bake", "grill"], default="bake", doc="Mode.")
    box = Value(Box, None, doc="Box.")
    boxes = Values(Box, doc="Boxes.")

    def check(self) -> None:
        if self.mode == "grill" and self.fan:
            raise SpecError("oven.fan is true, but mode grill has none: set oven.fan=false")


def refusal(**given: Any) -> str:
    with pytest.raises(SpecError) as caught:
        Oven(**given)
    return str(caught.value)


def test_unknown_options_are_named_with_what_may_be_meant():
    assert refusal(tray=3) == "oven.tray is not an option: did you mean 'trays'?"
    assert refusal(zzz=3) == "oven.zzz is not an option: known are trays, heat, fan, label, mode, box, boxes"
    assert refusal(name="mine").startswith("oven.name is not an option")  # param's own, not a user's


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trays": True}, "oven.trays is True: expected a whole number from 1 to 4 (trays)"),
        ({"trays": 2.0}, "oven.trays is 2.0: expected a whole number from 1 to 4 (trays)"),
        ({"trays": "2"}, "oven.trays is '2': expected a whole number from 1 to 4 (trays)"),
        ({"trays": None}, "oven.trays is None: expected a whole number from 1 to 4 (trays)"),
        ({"trays": 5}, "oven.trays is 5: expected a whole number from 1 to 4 (trays)"),
        ({"heat": False}, "oven.heat is False: expected a number above 0, at most 300 (°C)"),
        ({"heat": 0}, "oven.heat is 0: expected a number above 0, at most 300 (°C)"),
        ({"heat": "hot"}, "oven.heat is 'hot': expected a number above 0, at most 300 (°C)"),
        ({"heat": float("nan")}, "oven.heat is nan: expected a number above 0, at most 300 (°C)"),
        ({"fan": 1}, "oven.fan is 1: expected true or false"),
        ({"fan": "maybe"}, "oven.fan is 'maybe': expected true or false"),
        ({"label": "A"}, "oven.label is 'A': expected text matching ^[a-z]*$"),
        ({"label": 3}, "oven.label is 3: expected text matching ^[a-z]*$"),
        ({"mode": "gril"}, "oven.mode is 'gril': expected one of bake, grill; did you mean 'grill'?"),
        ({"mode": 7}, "oven.mode is 7: expected one of bake, grill"),
        ({"mode": ["bake"]}, "oven.mode is ['bake']: expected one of bake, grill"),
        ({"box": 3}, "oven.box is 3: expected a mapping {low, high}"),
        ({"box": {"lo": 3}}, "oven.box.lo is not known: did you mean 'low'?"),
        ({"box": {"high": 3}}, "oven.box.low is missing: expected a mapping {low, high}"),
        ({"boxes": {"low": 3}}, "oven.boxes is {'low': 3}: expected a list, each a mapping {low, high}"),
        ({"boxes": [{"low": 3}, 4]}, "oven.boxes[1] is 4: expected a mapping {low, high}"),
        ({"mode": "grill", "fan": True}, "oven.fan is true, but mode grill has none: set oven.fan=false"),
    ],
)
def test_a_refusal_says_what_was_given_and_what_is_expected(given, words):
    assert refusal(**given) == words


def test_bounds_are_part_of_the_allowed_range_where_they_say_so():
    assert Oven(trays=1, heat=300).plain() | {"trays": 4} == Oven(trays=4, heat=300).plain()
    assert Oven(heat=1e-9).heat == 1e-9


def test_values_are_parsed_and_given_back_plain():
    oven = Oven(box={"low": 1}, boxes=[{"low": 2, "high": 3}, Box(4)])
    assert oven.box == Box(1, 9)
    assert oven.boxes == (Box(2, 3), Box(4, 9))
    assert oven.plain()["box"] == {"low": 1, "high": 9}
    assert oven.plain()["boxes"] == [{"low": 2, "high": 3}, {"low": 4, "high": 9}]
    assert oven.changed() == {k: oven.plain()[k] for k in ("box", "boxes")}
    assert Oven(**oven.plain()) == oven
    assert to_plain((Box(1), [2, (3,)])) == [{"low": 1, "high": 9}, [2, [3]]]


def test_a_group_is_sealed():
    oven = Oven()
    with pytest.raises(SpecError, match=r"oven.trays is sealed: use replace\(trays=…\), or edit a draft\(\)"):
        oven.trays = 3
    assert oven.trays == 2
    assert oven.replace(trays=3).trays == 3
    assert oven.trays == 2


def test_one_group_does_not_share_its_values_with_another():
    Oven(mode="grill", trays=4, boxes=[{"low": 1}])
    assert Oven().changed() == {}


def test_groups_compare_and_hash_by_value():
    assert Oven(trays=3) == Oven(trays=3)
    assert hash(Oven(trays=3)) == hash(Oven(trays=3))
    assert Oven(trays=3) != Oven(trays=4)
    assert Oven() != 2
    assert len({Oven(), Oven(trays=2), Oven(trays=3)}) == 2


def test_a_draft_checks_values_when_set_and_the_whole_when_sealed():
    oven = Oven(trays=3)
    draft = oven.draft()
    draft.mode = "grill"
    draft.fan = True  # at odds, which a form may be for a while
    with pytest.raises(ValueError, match="4"):
        draft.trays = 5
    with pytest.raises(SpecError, match="oven.fan is true, but mode grill has none"):
        draft.seal()
    draft.fan = False
    sealed = draft.seal()
    assert sealed == Oven(trays=3, mode="grill")
    assert oven == Oven(trays=3)
    with pytest.raises(SpecError, match="sealed"):
        sealed.fan = False


def test_the_representation_tells_what_was_changed():
    assert repr(Oven(trays=3, mode="grill")) == "Oven(trays=3, mode='grill')"


def test_did_you_mean():
    assert did_you_mean("resnett", ["resnet", "unet"]) == "did you mean 'resnet'?"
    assert did_you_mean("x", iter(["resnet", "unet"])) == "known are resnet, unet"
