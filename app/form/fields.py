"""Declaration → widget: the form field of a declared option."""

from __future__ import annotations

import param

from app.form.field import Changed, ChoiceField, Field, FlagField, LineField, OfferedField
from app.form.parts import PeriodField, RegionField, ScalesField, SplitField
from app.form.sources import SourceField, SourcesField
from engine.options import Choice, Flag, Real, Text, Value, Values, Whole
from engine.spec import Period, Region, ScaleRange, Source, Split

FIELDS: dict[type, type[Field]] = {
    Whole: LineField,
    Real: LineField,
    Text: LineField,
    Choice: ChoiceField,
    Flag: FlagField,
    Values: SourcesField,
}
PART_FIELDS: dict[type, type[Field]] = {
    Source: SourceField,
    Region: RegionField,
    Period: PeriodField,
    Split: SplitField,
    ScaleRange: ScalesField,
}


# What there is to choose stands in the targets file, not in the declaration.
OFFERED = ("launch.site", "launch.partition", "launch.account")


def field_of(section: str, option: str, declared: param.Parameter, changed: Changed) -> Field:
    """The field of a declared option; `changed` is called with it when the user changed it."""
    if f"{section}.{option}" in OFFERED:
        return OfferedField(section, option, declared, changed)
    kind = PART_FIELDS[declared.kind] if isinstance(declared, Value) else FIELDS[type(declared)]
    return kind(section, option, declared, changed)
