"""Compare: LR, interpolated, HR and each run's downscaled field beside each other, with error maps, scores, spectra."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import panel as pn
import panel_material_ui as pmui

from app.components.cards import change
from app.components.compare_analysis import CompareAnalysis
from app.components.compare_maps import CompareMaps
from app.components.run_chips import RunChips
from app.components.start_card import StartCard
from app.components.time_bar import TimeBar
from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.services.first_page import newest_done
from app.services.newest import Rerun
from app.services.steps import Steps
from app.session import Session

ALERT = {"sx": {"py": "2px", "& p": {"margin": 0}}, "sizing_mode": "stretch_width", "margin": (0, 0, 8, 0)}
BELOW = 1500  # px kept for the analysis until it is there
SHOWN_S = 2.0  # the analysis waits so long at most for a browser to have laid out the maps


class ComparePage:
    """Reads the chosen runs, shows them, and follows the session: runs, time, layout, projection, colours, cell,
    condition.
    """

    def __init__(self, session: Session):
        self.session = session
        self.comparison = Comparison()
        self._steps = Steps(self.comparison)
        self.load = Rerun(self._load).run
        self._read_step = Rerun(self._read_fields).run  # steps may come faster than they are read
        self._stamps: dict[str, float] = {}
        self._chips, self._time = RunChips(session), TimeBar(session)
        self._analysis: CompareAnalysis | None = None  # its many widgets are made once the maps are shown
        self._maps = CompareMaps(
            session, self._draw_analysis, lambda: self._analysis.errors.board if self._analysis else None
        )
        self._notes = pn.Column(sizing_mode="stretch_width", margin=0)
        self._below = pn.Column(sizing_mode="stretch_width", min_height=BELOW, margin=0)
        self._page = pn.Column(
            self._chips.view,
            sizing_mode="stretch_width",
            min_height=700,
            margin=(4, 12),
            loading=True,
            styles={"max-height": "none", "flex": "none"},
        )
        self._is_untouched = True
        self._begin_with_newest()
        session.param.watch(lambda _: pn.state.execute(self.load), ["runs", "component"])
        session.param.watch(lambda _: pn.state.execute(self._read_step), "time")
        session.param.watch(lambda _: pn.state.execute(self._draw_analysis), "condition")
        pn.state.execute(self.load)  # reads and draws while the browser still opens the page

    def view(self) -> pn.viewable.Viewable:
        """The page; what it shows comes by itself."""
        return self._page

    def refresh(self) -> None:
        """The store changed: offer new runs; read again what was rewritten, finished or deleted."""
        self._begin_with_newest()
        self._chips.refresh()
        if self._stamps != self._stamps_now():
            pn.state.execute(self.load)

    def _begin_with_newest(self) -> None:
        """Choose the newest run as long as none was ever chosen: the first one may still be in training."""
        if self._is_untouched and not self.session.runs and (newest := newest_done(self.session.store)):
            self.session.runs = [newest]
        self._is_untouched = self._is_untouched and not self.session.runs

    async def _load(self) -> None:
        """Read the chosen runs and draw them; messages at the top say what cannot be used."""
        self._stamps = self._stamps_now()
        if self._analysis:
            await self._analysis.stop()
        change(lambda: self._page.param.update(loading=True))
        try:
            session = self.session
            comparison = await asyncio.to_thread(Comparison.of, session.store, list(session.runs), session.component)
            self.comparison.close()
            self.comparison, self._steps = comparison, Steps(comparison)
            if comparison:
                await self._maps.draw(comparison, await self._steps.read(self._step()))
            else:
                self._maps.clear()
            change(self._place)
        finally:
            change(lambda: self._page.param.update(loading=False))
        if comparison:
            pn.state.onload(self._draw_analysis)

    def _place(self) -> None:
        """Put everything in its place: once after each load."""
        self._chips.follow(self.comparison)
        notices = {"info": self.comparison.notes, "warning": tuple(self.comparison.refused.values())}
        self._notes[:] = [
            pmui.Alert(object=" ".join(texts), severity=severity, **ALERT)
            for severity, texts in notices.items()
            if texts
        ]
        if not self.comparison:
            can_add = newest_done(self.session.store)
            title = "Add a finished run above, or begin anew" if can_add else "No run to compare"
            self._page[:] = [self._chips.view, self._notes, StartCard(self.session, title).view]
            return
        with pn.io.hold(freeze=True):
            self._time.follow(self.comparison)
            self._maps.place()
            self._page[:] = [self._chips.view, self._notes, self._maps.view, self._below, self._time.view]

    async def _draw_analysis(self) -> None:
        """Draw what is below the maps, once these are shown: the scores, and the cards that are in view."""
        comparison, view, condition = self.comparison, self._maps.shared, self.session.condition
        if not comparison or view is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SHOWN_S):
                await view.shown.wait()

        def is_stale() -> bool:
            return (comparison, view, condition) != (self.comparison, self._maps.shared, self.session.condition)

        selection = await asyncio.to_thread(Selection.of, comparison, condition)
        if is_stale():
            return
        self._analysis = self._analysis or CompareAnalysis(self.session)
        await self._analysis.draw(selection, view, is_stale, self._place_analysis)

    def _place_analysis(self) -> None:
        if self._analysis and not len(self._below):
            with pn.io.hold(freeze=True):
                self._below.param.update(objects=self._analysis.parts, min_height=None)

    def _step(self) -> int:
        return min(self.session.time, max(self.comparison.n_steps - 1, 0))

    async def _read_fields(self) -> None:
        if self.comparison:
            self._maps.take(await self._steps.read(self._step()))
            pn.state.execute(self._show_step, schedule=True)

    def _show_step(self) -> None:
        """The fields at hand in the maps, and the time that they are of, in one message."""
        with pn.io.hold():
            self._maps.show()
            if self._analysis:
                self._analysis.cell.mark_time(self._step())
            self._time.step_is_shown()

    def _stamps_now(self) -> dict[str, float]:
        """Times at which the results of each chosen run were written last, verification included; 0 without any."""
        folders = {run_id: self.session.store.folder / run_id / "results" for run_id in self.session.runs}
        names = ("test.nc", "verification.nc", "verification_v.nc", "stations.nc")
        return {
            run_id: sum(path.stat().st_mtime for name in names if (path := folder / name).is_file())
            for run_id, folder in folders.items()
        }
