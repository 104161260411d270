"""The form of a whole spec: a card for each section, with its fields; it fills the session's draft."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.components.cards import titled_card
from app.components.catalogue_card import CatalogueDialog
from app.form.field import Field
from app.form.fields import field_of
from app.form.launch_card import ORDER as LAUNCH
from app.form.launch_card import LaunchCard
from app.session import Session
from engine.data.catalogue import Catalogue, Role
from engine.errors import MesoscopeError, SpecError
from engine.spec import SECTIONS, Spec

BASIC = {
    "data": ["target", "pairing", "scale", "lr", "predictors", "static", "region", "period", "split"],
    "model": ["backbone", "upsampling", "n_filters", "n_blocks", "localized", "residual"],
    "training": ["loss", "epochs", "batch_size", "learning_rate"],
    "launch": LAUNCH,
}
SOURCES = ("target", "target_v", "lr", "lr_v", "predictors", "static", "stations")
WIDE = {f"data.{name}" for name in (*SOURCES, "region", "period", "split")}
ROLES = {
    "target": Role.TARGET,
    "target_v": Role.TARGET,
    "lr": Role.LR,
    "lr_v": Role.LR,
    "predictors": Role.PREDICTOR,
    "static": Role.STATIC,
}
FIELD_STYLES = {"flex": "1 1 222px", "max-width": "320px"}


class SpecForm:
    """Fields of all options; `changed` is called after each change by the user.

    A value that the draft refuses stays in its field, with the reason in `refused`.
    """

    def __init__(self, session: Session, changed: Callable[[], None]):
        self.session, self._changed = session, changed
        self.fields: dict[str, Field] = {}
        self.refused: dict[str, SpecError] = {}
        self.folded: dict[str, FoldedOptions] = {}
        self.cards = {section: self._card(section) for section in SECTIONS}
        self.catalogue = CatalogueDialog()
        for option, role in ROLES.items():
            field: Any = self.fields[f"data.{option}"]
            field.catalogue.on_click(lambda _, role=role, take=field.take: self.catalogue.open(role, take))

    @property
    def is_blank(self) -> bool:
        return self.session.draft.get("data", "target") is None and not self.refused

    def show_draft(self) -> None:
        """Put the session's draft into the fields."""
        self.refused.clear()
        for field in self.fields.values():
            field.show(self.session.draft.get(field.section, field.option))

    def offer(self, catalogue: Catalogue) -> None:
        """Offer the catalogue for each source, if it has data sets."""
        for option in ROLES:
            self.fields[f"data.{option}"].catalogue.visible = bool(catalogue.entries)  # type: ignore[attr-defined]

    def seal(self) -> Spec:
        """The draft as a spec that its site accepts; raises SpecError or SiteError."""
        for error in self.refused.values():
            raise error
        spec = self.session.draft.seal()
        self.launch.refuse(spec)
        return spec

    def mark(self, fault: MesoscopeError | None) -> None:
        """Mark refused fields and the one that `fault` names; show the fields that apply to the draft."""
        self.launch.show(self.session.draft.sections["launch"])
        marks = {**({fault.option: fault} if fault else {}), **self.refused}
        for key, field in self.fields.items():
            # The field stands beside its message: 'data.scale is missing: give …' → 'is missing: give …'.
            field.fault(str(marks[key]).removeprefix(f"{key} ") if key in marks else "")
        for section, folded in self.folded.items():
            wrong = {field.option for key, field in self.fields.items() if key in marks and field.section == section}
            folded.show(self.session.draft.sections[section].changed(), wrong)
        lr, lr_v = self.fields["data.lr"], self.fields["data.lr_v"]
        lr.view.visible = self.session.draft.get("data", "pairing") == "mos" or lr.raw() is not None
        has_second = self.fields["data.target_v"].raw() is not None
        lr_v.view.visible = (lr.view.visible and has_second) or lr_v.raw() is not None

    def _card(self, section: str) -> pn.viewable.Viewable:
        declared = SECTIONS[section].declared()
        for option, declaration in declared.items():
            self.fields[f"{section}.{option}"] = field_of(section, option, declaration, self._take)
        if section == "launch":
            fields = {option: self.fields[f"launch.{option}"] for option in declared}
            self.launch = LaunchCard(fields, self._arranged(section, LAUNCH))
            return self.launch.view
        basic = self._arranged(section, [option for option in BASIC[section] if option in declared])
        rest = [option for option in declared if option not in BASIC[section]]
        folded = self.folded[section] = FoldedOptions(rest, self._arranged(section, rest))
        return titled_card(section.capitalize(), basic, folded.button, folded.view)

    def _take(self, field: Field) -> None:
        try:
            self.session.draft.set(field.section, field.option, field.raw())
            self.refused.pop(field.key, None)
        except SpecError as error:
            self.refused[field.key] = error
        self._changed()

    def _arranged(self, section: str, options: list[str]) -> pn.viewable.Viewable:
        """In the order given: wide fields in a line of their own, narrow ones beside one another."""
        lines: list[Any] = []
        for wide, run in itertools.groupby(options, lambda option: f"{section}.{option}" in WIDE):
            views = [self.fields[f"{section}.{option}"].view for option in run]
            if wide:
                lines += views
                continue
            for view in views:
                view.param.update(sizing_mode=None, styles=FIELD_STYLES)
            row = {"align_items": "flex-start", "margin": (4, 0), "sizing_mode": "stretch_width"}
            lines.append(pn.FlexBox(*views, gap="4px 16px", **row))
        return pmui.Column(*lines, margin=0, sizing_mode="stretch_width")


class FoldedOptions:
    """Options that a button shows and hides; it says how many are set, and one that is wrong is shown."""

    def __init__(self, options: Collection[str], view: pn.viewable.Viewable):
        self.view = view
        self._options, self._count = set(options), 0
        self.button = pmui.Button(variant="text", size="small", margin=(6, 0, 0, -4))
        self.button.on_click(lambda _: self._unfold(not self.view.visible))
        self._unfold(False)

    def show(self, chosen: Collection[str], wrong: Collection[str]) -> None:
        """Count the options that are set, and unfold where one is wrong."""
        self._count = len(self._options.intersection(chosen))
        self._unfold(self.view.visible or not self._options.isdisjoint(wrong))

    def _unfold(self, visible: bool) -> None:
        self.view.visible = visible
        label = "Fewer options" if visible else "More options" + (f" ({self._count} set)" if self._count else "")
        self.button.param.update(label=label, icon="expand_less" if visible else "expand_more")
