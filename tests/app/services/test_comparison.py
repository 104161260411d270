"""What compared runs have in common, and what is said when they haven't."""

import numpy as np
import pytest
import xarray as xr

from app.services.comparison import Comparison
from app.services.run_settings import differing_options, seed_groups
from engine.runs import Run, Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 30}


def compare(folder, *runs: Run) -> Comparison:
    return Comparison.of(Store(folder), [run.id for run in runs])


def test_two_runs_on_one_truth(tmp_path):
    a, b = (write_run(tmp_path, title, **SMALL, skill=skill) for title, skill in (("good", 0.8), ("poor", 0.2)))
    both = compare(tmp_path, a, b)
    assert (both.n_steps, both.notes, both.refused) == (30, (), {})
    fields = both.fields(3)
    assert list(fields) == ["lr", "interpolated", "hr", "A", "B"]
    with xr.open_dataset(b.results) as stored:
        np.testing.assert_array_equal(fields["B"], stored["downscaled"][3])
        np.testing.assert_array_equal(fields["lr"].x, stored["x_lr"])
    assert both.scores()["A"].downscaled["rmse"].mean < both.scores()["B"].downscaled["rmse"].mean


def test_overlapping_periods_are_compared_over_their_common_steps(tmp_path):
    a = write_run(tmp_path, "first", **SMALL)
    b = write_run(tmp_path, "second", **SMALL, start="2019-03-01T10:00")
    both = compare(tmp_path, a, b)
    assert both.n_steps == 20
    assert "20 steps in common" in both.notes[0]
    with xr.open_dataset(a.results) as one, xr.open_dataset(b.results) as other:
        np.testing.assert_array_equal(both.fields(0)["A"], one["downscaled"][10])
        np.testing.assert_array_equal(both.fields(0)["B"], other["downscaled"][0])
        error = (one["downscaled"] - one["hr"])[10:].values.astype(float)
    np.testing.assert_allclose(both.rmse_maps()["A"], np.sqrt((error**2).mean(axis=0)), rtol=1e-5)
    rmse_of_steps = np.sqrt((error**2).mean(axis=(1, 2)))
    assert both.scores()["A"].downscaled["rmse"].mean == pytest.approx(rmse_of_steps.mean(), rel=1e-5)


def test_a_run_without_common_steps_keeps_its_scores(tmp_path):
    both = compare(
        tmp_path, write_run(tmp_path, "then", **SMALL), write_run(tmp_path, "later", **SMALL, start="2020-01-01")
    )
    assert [result.letter for result in both.shown] == ["A"]
    assert "B has no test step in common with A" in both.notes[0]
    assert {"A", "B"} <= set(both.scores())


def test_members_of_a_forecast_are_compared_one_by_one_with_the_same_ones_alone(tmp_path):
    a, b, other = (
        write_run(tmp_path, title, **SMALL, skill=skill) for title, skill in (("a", 0.8), ("b", 0.2), ("c", 0))
    )
    for run in (a, b):  # two members that hold for the same 15 hours
        with xr.open_dataset(run.results) as stored:
            twice = stored.load()
        times = twice["time"].values
        twice.assign_coords(time=np.concatenate([times[:15], times[:15]])).to_netcdf(run.results)
    three = compare(tmp_path, a, b, other)
    assert [result.letter for result in three.shown] == ["A", "B"]
    assert three.n_steps == 30
    with xr.open_dataset(b.results) as stored:
        np.testing.assert_array_equal(three.fields(20)["B"], stored["downscaled"][20])
    assert three.cell(52, 0)["B"].shape == (30,)


def test_another_calendar_has_no_common_steps(tmp_path):
    both = compare(tmp_path, write_run(tmp_path, "a", **SMALL), write_run(tmp_path, "b", **SMALL, calendar="360_day"))
    assert len(both.shown) == 1


def test_another_grid_is_shown_and_said(tmp_path):
    both = compare(tmp_path, write_run(tmp_path, "a", **SMALL), write_run(tmp_path, "b", ny=32, nx=48, n_times=30))
    assert "B has another grid (32 × 48)" in both.notes[0]
    assert both.fields(0)["B"].shape == (32, 48)
    assert not both.on_same_grid(both.shown[1])


def test_another_projection_is_refused(tmp_path):
    both = compare(tmp_path, write_run(tmp_path, "a", **SMALL), b := write_run(tmp_path, "b", **SMALL, projected=True))
    assert "another map projection" in both.refused[b.id]
    assert len(both.results) == 1


def test_another_unit_is_refused(tmp_path):
    a, b = write_run(tmp_path, "a", **SMALL), write_run(tmp_path, "b", **SMALL)
    with xr.open_dataset(b.results) as stored:
        content = stored.load()
    content["hr"].attrs["units"] = "mm"
    content.to_netcdf(b.results)
    assert "is in mm, A in K: compare runs of one variable" in compare(tmp_path, a, b).refused[b.id]


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(tmp_path):
    good, broken, gone = (write_run(tmp_path, title, **SMALL) for title in ("good", "broken", "gone"))
    unfinished = write_run(tmp_path, "unfinished", done=False)
    broken.results.write_bytes(broken.results.read_bytes()[:5000])
    gone.folder.rename(tmp_path / "elsewhere")
    all_four = compare(tmp_path, broken, good, gone, unfinished)
    assert [result.letter for result in all_four.results] == ["B"]
    assert "is damaged; delete the run, or train it again" in all_four.refused[broken.id]
    assert "is no longer in the store" in all_four.refused[gone.id]
    assert "has no results yet (running)" in all_four.refused[unfinished.id]


def test_results_without_a_field_are_told(tmp_path):
    run = write_run(tmp_path, "half", **SMALL)
    with xr.open_dataset(run.results) as stored:
        content = stored.drop_vars("interpolated").load()
    content.to_netcdf(run.results)
    assert "lack interpolated" in compare(tmp_path, run).refused[run.id]


@pytest.mark.parametrize(
    ("typed", "step"),
    [("2019-03-01 05:00", 5), ("2019-03-01T05:00", 5), ("2019-03-02", 24), ("2018", 0), ("2019-03-01 04:30", 5)],
)
def test_a_typed_date_finds_its_step(tmp_path, typed, step):
    assert compare(tmp_path, write_run(tmp_path, "a", **SMALL)).find_step(typed) == step


@pytest.mark.parametrize("typed", ["", "tomorrow", "2019-03-09"])
def test_a_date_that_is_none_finds_nothing(tmp_path, typed):
    assert compare(tmp_path, write_run(tmp_path, "a", **SMALL)).find_step(typed) is None


def test_only_settings_that_differ_are_told(tmp_path):
    a, b = write_run(tmp_path, "a", **SMALL), write_run(tmp_path, "b", **SMALL, model={"n_filters": 64})
    assert differing_options(compare(tmp_path, a, b).results) == {"model.n_filters": ["32", "64"]}


def test_a_cell_is_the_one_nearest(tmp_path):
    run = write_run(tmp_path, "a", **SMALL)
    one = compare(tmp_path, run)
    with xr.open_dataset(run.results) as stored:
        y, x = float(stored.y[4]), float(stored.x[7])
        assert one.nearest(y + 0.1, x - 0.1) == (y, x)
        np.testing.assert_allclose(one.cell(y, x)["hr"], stored["hr"][:, 4, 7])
        stored.load()
    assert one.intervals(y, x) == {}
    one.close()
    stored.assign(lower=stored["hr"] - 1, upper=stored["hr"] + 2).to_netcdf(run.results)
    lower, upper = compare(tmp_path, run).intervals(y, x)["A"]
    np.testing.assert_allclose([lower, upper], stored["hr"].values[:, 4, 7] + np.array([[-1], [2]]), rtol=1e-6)


def test_runs_that_differ_in_nothing_but_their_seed_are_one_experiment(tmp_path):
    runs = [write_run(tmp_path, f"seed {seed}", **SMALL, seed=seed) for seed in (0, 1)]
    runs.append(write_run(tmp_path, "other", **SMALL, seed=2, model={"n_filters": 24}))
    runs.append(write_run(tmp_path, "again", **SMALL, seed=2, model={"n_filters": 24}))  # the same seed: no range
    (group,) = seed_groups(compare(tmp_path, *runs).results)
    assert [result.letter for result in group] == ["A", "B"]
