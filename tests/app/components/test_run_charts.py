"""Charts of many runs: drawn once the card is open, again when scores change; a click opens the run."""

import asyncio
from dataclasses import replace

import pytest

from app.components.run_charts import RunCharts
from app.services.watcher import take_snapshot
from tests.app.fake import write_run
from tests.app.settled import settled


@pytest.fixture
def seen(session):
    for title, skill in {"a": 0.5, "b": 0.6, "c": 0.7}.items():
        write_run(session.store.folder, title, skill=skill, model={"n_filters": round(80 * skill)})
    write_run(session.store.folder, "in training", done=False)
    return [take_snapshot(run) for run in session.store.runs()]


def scenario(session, *steps):
    """What is drawn after each step, with an opened card from the first one on: runs to show, or a function."""

    async def act():
        charts, drawn = RunCharts(session), []
        for number, step in enumerate(steps):
            step(charts) if callable(step) else charts.show(step)
            charts.view.collapsed = number == 0
            await settled()
            drawn.append([pane.object for pane in charts._charts])
        return drawn

    return asyncio.run(act())


def test_charts_are_drawn_once_the_card_is_open(session, seen):
    folded, (costs, settings) = scenario(session, seen, lambda charts: None)
    assert folded == []
    dots, lines = costs.renderers[0].data_source, settings.renderers[1].data_source
    assert dots is lines
    assert sorted(dots.data["title"]) == ["a", "b", "c"]
    ys = dict(zip(dots.data["title"], dots.data["ys"], strict=True))
    # 40, 48 and 56 filters; with more skill RMSE falls: where the first axis goes up, the second goes down.
    assert (ys["a"], ys["b"][0], ys["c"]) == ([0, 1], 0.5, [1, 0])
    assert dots.data["settings"][dots.data["title"].index("b")] == "n_filters 48"


def test_a_click_opens_the_run(session, seen):
    def click(charts):
        source = charts._charts[0].object.renderers[0].data_source
        source.selected.indices = [source.data["title"].index("b")]

    scenario(session, seen, lambda charts: None, click)
    assert session.run == next(one.id for one in seen if one.title == "b")


def test_charts_are_drawn_again_only_for_other_scores(session, seen):
    again = [take_snapshot(one.run) for one in seen]
    _, before, same, fewer, none = scenario(session, seen, lambda charts: None, again, seen[-2:], [])
    assert before == same
    assert fewer != before
    assert "No finished run" in none[0]


def test_a_thousand_runs_are_drawn(session, seen):
    done = next(one for one in seen if one.scores)
    _, (costs,) = scenario(session, [replace(done, title=str(number)) for number in range(1000)], lambda charts: None)
    assert len(costs.renderers[0].data_source.data["title"]) == 1000  # they differ in no setting: there is no other
