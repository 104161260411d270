"""Fields made from declarations: each option can be shown, read back and refused."""

import asyncio

import panel_material_ui as pmui
import pytest

from app.form.field import read_number
from app.form.fields import field_of
from app.formatting import plain_text
from app.session import Draft
from engine.errors import SpecError
from engine.options import to_plain
from engine.spec import SECTIONS, Spec
from tests.app.settled import settled

EVERY = [(section, option) for section, kind in SECTIONS.items() for option in kind.declared()]
SPEC = Spec.from_plain(
    {
        "version": 1,
        "data": {
            "target": {"path": ["a.nc", "b.nc"], "variable": "t2m", "units": "K"},
            "pairing": "mos",
            "lr": {"path": "lr_*.nc"},
            "predictors": [
                {"path": "p.nc", "variable": "psl", "select": {"level": 850.5, "kind": "a, b"}},
                {"path": "q.nc"},
            ],
            "static": [{"path": "s.nc", "variable": "z"}],
            "scale": 5,
            "region": {"lat": [50, 58.5], "lon": [-10, 2]},
            "period": ["1981-01-01", "2010-12-31"],
            "split": {"train": ["1981", "1990"], "validation": ["1991", "1995"], "test": ["1996", "2000"], "gap": 3},
        },
        "training": {"learning_rate": 3e-5},
        "launch": {"title": "a title: with a colon"},
    }
)


def made(section, option):
    changes = []
    return field_of(section, option, SECTIONS[section].declared()[option], changes.append), changes


@pytest.mark.parametrize(("section", "option"), EVERY)
@pytest.mark.parametrize("draft", [Draft(), Draft.of(SPEC)], ids=["blank", "full"])
def test_what_a_field_shows_comes_back_equal(section, option, draft):
    field, changes = made(section, option)
    value = draft.get(section, option)
    field.show(value)
    assert changes == []
    other = Draft()
    other.set(section, option, field.raw())
    assert to_plain(other.get(section, option)) == to_plain(value)


@pytest.mark.parametrize(("section", "option"), EVERY)
def test_every_option_has_its_doc_in_the_form(section, option):
    field, _ = made(section, option)
    doc = SECTIONS[section].declared()[option].doc
    shown = [getattr(part, "description", None) or getattr(part, "object", "") for part in field.view.select()]
    assert any(doc in (text or "").replace("\\", "") for text in shown)


def test_a_number_is_kept_as_typed_and_refused_by_the_draft():
    field, changes = made("training", "epochs")
    field.view.value = "many"
    assert changes == [field]
    with pytest.raises(SpecError, match=r"training\.epochs is 'many': expected a whole number from 1 to 100000"):
        Draft().set("training", "epochs", field.raw())
    field.fault("expected a whole number")
    assert (field.view.value, field.view.error_state, field.view.helper_text) == (
        "many",
        True,
        "expected a whole number",
    )
    field.fault("")
    assert (field.view.value, field.view.error_state) == ("many", False)


def test_sources_are_added_and_taken_off():
    field, changes = made("data", "predictors")
    field.show(())
    add = next(b for b in field.view.select(pmui.Button) if b.label == "Add")
    add.clicks += 1
    path = next(line for line in field.view.select(pmui.TextInput) if line.label == "path")
    path.value = "psl.nc"
    assert field.raw() == [{"path": "psl.nc"}]
    away = field.view.select(pmui.IconButton)[0]
    away.clicks += 1
    assert field.raw() == []
    assert len(changes) == 2


def test_the_variables_of_a_file_are_offered_until_one_is_chosen(temperature_file):
    async def scenario():
        field, changes = made("data", "target")
        field._lines["path"].value = str(temperature_file)
        await settled()
        row = field.view.select(pmui.FlexBox)[0]
        assert row.visible
        buttons = row.select(pmui.Button)
        assert [button.label for button in buttons] == ["t2m", "topography"]
        buttons[0].clicks += 1
        assert not row.visible
        assert field.raw() == {"path": str(temperature_file), "variable": "t2m"}
        assert len(changes) == 2

    asyncio.run(scenario())


def test_nothing_is_offered_for_what_is_no_field(tmp_path):
    async def scenario():
        field, _ = made("data", "target")
        for path in (str(tmp_path / "missing.nc"), str(tmp_path), "*.nc", ""):
            field._lines["path"].value = path
            await settled()
            assert not field.view.select(pmui.FlexBox)[0].visible

    asyncio.run(scenario())


def test_a_split_with_a_part_left_empty_says_which():
    field, _ = made("data", "split")
    field.show(SPEC.data.split)
    next(line for line in field.view.select(pmui.TextInput) if line.label == "test").value = ""
    with pytest.raises(SpecError, match=r"data\.split has no test: expected a mapping"):
        field.raw()


@pytest.mark.parametrize(
    ("text", "whole", "number"), [("3", True, 3), ("3.5", True, "3.5"), ("1e-3", False, 0.001), ("", False, None)]
)
def test_read_number(text, whole, number):
    assert read_number(text, whole) == number


def test_a_message_is_no_markdown():
    assert plain_text("a_b *c* <d>") == r"a\_b \*c\* \<d\>"
