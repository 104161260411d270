"""Taylor diagram: what its frame holds, where its lines end, and the distances that can be read from it."""

import numpy as np
import pytest

from app.plots.taylor import HEIGHT, WIDTH, frame, ray_exits, taylor_diagram


@pytest.mark.parametrize(("x", "y"), [([0.98], [0.1]), ([0.2, 1.4], [0.9, 0.0]), ([-0.6], [0.3]), ([1.0], [0.0])])
def test_all_points_and_hr_are_inside_and_both_axes_have_one_scale(x, y):
    left, right, top = frame(np.array(x), np.array(y))
    assert left < min(1, *x)
    assert max(1, *x) < right
    assert max(y) < top
    assert (right - left) / top == pytest.approx(WIDTH / HEIGHT)


@pytest.mark.parametrize("box", [(0.0, 1.5, 1.0), (0.9, 1.05, 0.1), (-1.0, 2.0, 2.0)])
def test_lines_of_correlation_end_at_the_edge_of_the_frame(box):
    left, right, top = box
    exits = ray_exits(left, right, top)
    assert exits
    for correlation, (x, y) in exits.items():
        assert x / np.hypot(x, y) == pytest.approx(correlation)
        assert left <= x <= right + 1e-9
        assert 0 < y <= top + 1e-9
        assert min(abs(x - right), abs(x - left), abs(y - top)) == pytest.approx(0, abs=1e-9)


def test_a_point_is_as_far_from_hr_as_its_error_without_bias():
    rng = np.random.default_rng(0)
    hr = rng.normal(size=1000)
    product = 0.7 * hr + 0.4 * rng.normal(size=1000) + 3
    ratio, correlation = product.std() / hr.std(), np.corrcoef(hr, product)[0, 1]
    figure = taylor_diagram({"A": (ratio, correlation)}, {"A": "A network"})
    (dots,) = (renderer for renderer in figure.renderers if "error" in renderer.data_source.data)
    error = (product - product.mean()) - (hr - hr.mean())
    assert dots.data_source.data["error"][0] == pytest.approx(np.sqrt((error**2).mean()) / hr.std())
