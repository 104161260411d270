"""Skill against cost: which runs are drawn, and where they stand on the axes of their settings."""

import json

import numpy as np
import pytest

from app.services.run_costs import MOST_AXES, RunCost, number_axis, pareto_front, run_costs, setting_axes, targets_of
from app.services.watcher import take_snapshot
from engine.spec import Source
from tests.app.fake import write_run


def snapshots(store):
    return [take_snapshot(run) for run in store.runs()]


def test_finished_runs_of_one_target_have_a_cost(store):
    done = write_run(store.folder, "done")
    write_run(store.folder, "in training", done=False)
    other = write_run(store.folder, "other")
    request = other.folder / "request.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "field": "pr of rain.nc"}))
    seen = snapshots(store)
    assert targets_of([*seen, take_snapshot(done)]) == [done.field, "pr of rain.nc"]
    (cost,) = run_costs(seen, done.field, "mae")
    # The last of 40 epochs of 5 steps is number 199, a second each.
    assert (cost.id, cost.title, cost.seconds) == (done.id, "done", 199.0)
    assert cost.score == done.scores()["downscaled"]["mae"]["mean"]
    assert [one.id for one in run_costs(seen, "pr of rain.nc", "mae")] == [other.id]


def test_axes_are_the_settings_that_differ(store):
    write_run(store.folder, "a", model={"n_filters": 8, "backbone": "unet", "upsampling": "pin"})
    write_run(store.folder, "b", model={"n_filters": 24})
    write_run(store.folder, "c", model={"backbone": "convnext", "upsampling": "rc"})
    axes = {axis.option: axis for axis in setting_axes(sorted(snapshots(store), key=lambda one: one.title))}
    assert list(axes) == ["model.backbone", "model.n_filters", "model.upsampling"]
    # By the alphabet: convnext, resnet (the default), unet.
    np.testing.assert_allclose(axes["model.backbone"].places, [1, 0.5, 0])
    assert axes["model.backbone"].ticks == {0.0: "convnext", 0.5: "resnet", 1.0: "unet"}
    # The default is 32: (8 - 8) / 24, (24 - 8) / 24 and 1.
    np.testing.assert_allclose(axes["model.n_filters"].places, [0, 2 / 3, 1])
    assert axes["model.n_filters"].ticks == {0.0: "8", 1.0: "32"}


def test_few_axes_are_drawn_and_none_of_words_without_end(store):
    options = {"n_filters": 8, "n_blocks": 2, "residual": False, "backbone": "unet", "upsampling": "pin"}
    options |= {"dropout_rate": 0.1, "attention": True, "normalization": "batch", "localized": False}
    write_run(store.folder, "a", model=options)
    plain = write_run(store.folder, "b", done=False).spec
    for number in range(13):
        store.create(plain.replace(data={"target": Source(f"/data/{number}.nc", "t2m")}), {})
    axes = setting_axes(snapshots(store))
    assert len(axes) == MOST_AXES
    assert "data.target" not in [axis.option for axis in axes]


@pytest.mark.parametrize(("numbers", "places"), [([3, 1, 2], [1, 0, 0.5]), ([5, 5], [0.5, 0.5])])
def test_numbers_stand_between_the_smallest_and_the_largest(numbers, places):
    np.testing.assert_allclose(number_axis("score", numbers).places, places)


@pytest.mark.parametrize(
    ("score", "scores", "front"),
    [("rmse", [3.0, 2.0, 2.5, 1.0], "abd"), ("pearson", [0.7, 0.8, 0.9, 0.85], "abc"), ("bias", [-3, 1, 2, -1], "ab")],
)
def test_the_front_is_of_the_best_scores_so_far_by_training_time(score, scores, front):
    costs = [
        RunCost(name, name, seconds, value) for name, seconds, value in zip("abcd", (1, 2, 3, 4), scores, strict=True)
    ]
    assert "".join(cost.id for cost in pareto_front(costs[::-1], score)) == front
