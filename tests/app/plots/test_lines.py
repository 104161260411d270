"""Figures that HoloViews draws."""

from __future__ import annotations

import gc
import weakref

import holoviews as hv
from holoviews.plotting.bokeh.chart import CurvePlot

from app.plots.lines import line_figure


def test_a_figure_that_nobody_holds_is_forgotten():
    lines = hv.Overlay([hv.Curve([1.0, 2.0], label="a"), hv.Curve([2.0, 1.0], label="b")])
    figure = weakref.ref(line_figure(lines, height=200))
    del lines
    gc.collect()
    assert figure() is None
    assert not [one for one in gc.get_objects() if type(one) is CurvePlot and one.label in ("a", "b")]
