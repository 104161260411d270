"""Design: a form made from the spec's declarations, checked while typing, and submitted."""

from __future__ import annotations

import asyncio
import html

import panel as pn

from app.components.cards import columns, side_column, titled_card
from app.components.domain_card import DomainCard
from app.components.searches_card import SearchesCard
from app.components.spec_files import SpecFiles
from app.components.spec_summary import SpecSummary
from app.form.spec_form import SpecForm
from app.services.watcher import watcher_of
from app.session import Session
from app.theme import PAGE_CSS
from engine.data.catalogue import Catalogue
from engine.errors import MesoscopeError, SiteError, SpecError
from engine.spec import Spec

SIDE_WIDTH = 404


class DesignPage:
    """The form at the left; its summary, the YAML and the submission at the right."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        self.form = SpecForm(session, self._validate)
        self.summary = SpecSummary(session, self.form.launch.elsewhere)
        self.searches = SearchesCard(session)
        self.domain = DomainCard()
        self.files = SpecFiles(session, self.yaml_text)
        self._yaml = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=(4, 4))
        self._show_draft()
        pn.state.execute(self._offer)
        session.param.watch(lambda _: self._show_draft(), "draft")
        session.param.watch(lambda _: self._offer_again(), "page")

    def view(self) -> pn.viewable.Viewable:
        self.refresh()
        cards = self.form.cards
        form = pn.Column(
            self.files.view, cards["data"], cards["model"], self.summary.network_card, cards["training"],
            cards["launch"], self.form.catalogue.view, sizing_mode="stretch_width",
        )  # fmt: skip
        yaml = titled_card("Spec (what differs from the defaults)", self._yaml)
        side = side_column(
            self.summary.view,
            self.searches.view,
            self.domain.view,
            yaml,
            width=SIDE_WIDTH,
            position="sticky",
            top="12px",
        )
        return columns(form, side)

    def refresh(self) -> None:
        """Show the newest of the searches; nothing else here depends on runs."""
        self.searches.show(self._watcher.searches)

    def yaml_text(self) -> str:
        """The whole spec, or as much of it as there is."""
        return self.summary.spec.to_yaml() if self.summary.spec else self.session.draft.to_yaml()

    def _show_draft(self) -> None:
        with pn.io.hold():
            self.form.show_draft()
            self._validate()

    def _validate(self) -> None:
        """Check the draft against the declarations, mark what is wrong, and ask the engine about the rest."""
        self.session.keep_draft()
        spec: Spec | None = None
        fault: MesoscopeError | None = None
        try:
            spec = self.form.seal()
        except (SpecError, SiteError) as error:
            fault = None if self.form.is_blank else error
        with pn.io.hold():
            self.form.mark(fault)
            text = html.escape(self.session.draft.to_yaml())
            self._yaml.object = f"<pre class='text clip' tabindex='0' role='group' aria-label='Spec'>{text}</pre>"
            self.summary.show(spec, str(fault or ""))
            self.domain.show(self.session.draft.sections["data"])

    async def _offer(self) -> None:
        """Offer what the catalogue has now."""
        catalogue = await asyncio.to_thread(Catalogue.read)
        with pn.io.hold():
            self.form.offer(catalogue)

    def _offer_again(self) -> None:
        """Offer what is there now: demonstration set, targets file or catalogue may have changed meanwhile."""
        if self.session.page == "design":
            pn.state.execute(self._offer)
            self.files.refresh()
            if self.form.launch.read():
                watcher_of(self.session.store)  # polls new sites too
                self._validate()
