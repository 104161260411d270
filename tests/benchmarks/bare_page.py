"""A Panel page with nothing but linked Bokeh images and a button that steps: what the libraries themselves take."""

from __future__ import annotations

import numpy as np
import panel as pn
from bokeh.models import LinearColorMapper, Range1d
from bokeh.plotting import figure

pn.extension()
n_maps, rows, columns = (int(pn.state.session_args[name][0]) for name in ("maps", "rows", "columns"))
steps = np.random.default_rng(0).normal(size=(4, rows, columns)).cumsum(axis=2).astype("float32")
mapper = LinearColorMapper(palette="Viridis256", low=-30, high=30)
x_range, y_range = Range1d(0, 1), Range1d(0, 1)
figures, sources = [], []
for _ in range(n_maps):
    one = figure(width=260, height=260, x_range=x_range, y_range=y_range)
    image = one.image([steps[0]], x=0, y=0, dw=1, dh=1, color_mapper=mapper)
    figures.append(one)
    sources.append(image.data_source)
counts = iter(range(1, 10**6))


def step(_: object) -> None:
    """Other values in all images, in one message."""
    values = steps[next(counts) % len(steps)]
    with pn.io.hold():
        for source in sources:
            source.data = {"image": [values]}


button = pn.widgets.Button(name="One step forward", on_click=step)
pn.Column(button, pn.Row(*map(pn.pane.Bokeh, figures))).servable()
