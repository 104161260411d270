"""The region of the design on the map of a grid whose file begins in its north-eastern corner."""

import bokeh.models as bm
import numpy as np
import xarray as xr
from bokeh.events import SelectionGeometry

from app.components.region_card import RegionCard
from app.plots.live import MapSet, SharedView
from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import CurvilinearGrid


def test_a_box_on_a_turned_map_is_the_region_that_lies_there(session):
    # Rows from 59.5° to 50.5° north, columns from 19.5° to 0.5° east: on the map, row r and column c stand at -r, -c.
    lon, lat = np.meshgrid(np.arange(19.5, 0, -1), np.arange(59.5, 50, -1))
    grid = CurvilinearGrid(np.arange(10.0), np.arange(20.0), lat=lat, lon=lon)
    field = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates_of(grid))
    view = SharedView(grid_of(field), lambda y, x: None)
    maps = MapSet({"field": field}, view, clim=(0.0, 1.0), cmap="viridis")
    card = RegionCard(session)
    card.follow(grid, maps)
    figure = maps.figures[0]
    # The five southernmost rows, 5 to 9, and the eight westernmost columns, 12 to 19.
    geometry = {"type": "rect", "x0": -19.6, "x1": -11.6, "y0": -9.6, "y1": -4.6}
    figure._trigger_event(SelectionGeometry(figure, geometry=geometry, final=True))
    assert (card.region.lat, card.region.lon) == ((50.5, 54.5), (0.5, 7.5))
    lines = [one.data_source.data for one in figure.renderers if isinstance(one.glyph, bm.Line)][-4:]
    ends = [[float(f(line[axis])) for axis in "xy" for f in (np.nanmin, np.nanmax)] for line in lines]
    # Cells reach half a cell beyond their centres; the region, which ends in the centres, doesn't.
    assert ends[-1] == [-19.5, -11.5, -9.5, -4.5]
    np.testing.assert_allclose(ends[0], [-19, -12, -9, -5], atol=0.1)
