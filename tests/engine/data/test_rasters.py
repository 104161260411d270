"""GeoTIFF: files are written tag by tag with tifffile, so that what GDAL reads is checked against the standard.

Source: OGC GeoTIFF 1.1 (19-008r4), requirements of its tags and keys; GDAL's own tags 42112 and 42113.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

from engine.data.fields import open_field
from engine.data.file_summary import describe
from engine.data.grid_coordinates import grid_of
from engine.data.normalizer import fit_normalizer, load_hr_template
from engine.data.pairs import pair, pair_for_downscaling
from engine.errors import DataError, GridError, TimeError
from engine.spec import DataOptions, Source, Split
from tests.engine.data.mock import refusal, write_field

SCALE, TIE_POINT, TRANSFORMATION, KEYS, GDAL_METADATA, GDAL_NODATA = 33550, 33922, 34264, 34735, 42112, 42113
PROJECTED, GEOGRAPHIC = (1024, 1), (1024, 2)  # GTModelTypeGeoKey
AREA, POINT = (1025, 1), (1025, 2)  # GTRasterTypeGeoKey
UTM_33N, WGS_84, WEB_MERCATOR = (3072, 32633), (2048, 4326), (3072, 3857)
WEST, NORTH, SIDE = 500_000.0, 5_000_000.0, 30.0  # of the corner of the first pixel, in m
VALUES = np.arange(24, dtype=np.uint16).reshape(4, 6)


def write_tiff(
    path: Path,
    values: np.ndarray = VALUES,
    *,
    keys: tuple[tuple[int, int], ...] = (PROJECTED, AREA, UTM_33N),
    tie: tuple[float, float] = (WEST, NORTH),
    side: float = SIDE,
    matrix: list[float] | None = None,
    items: str = "",
    nodata: str = "",
    **how: Any,
) -> str:
    """Write (y, x) or (y, x, band) as GeoTIFF."""
    tags: list[tuple[Any, ...]] = []
    if keys:
        directory = [1, 1, 0, len(keys), *(number for key, value in keys for number in (key, 0, 1, value))]
        tags.append((KEYS, "H", len(directory), directory, True))
    if matrix:
        tags.append((TRANSFORMATION, "d", 16, matrix, True))
    elif keys:
        tags += [(SCALE, "d", 3, (side, side, 0.0), True), (TIE_POINT, "d", 6, (0.0, 0.0, 0.0, *tie, 0.0), True)]
    if items:
        tags.append((GDAL_METADATA, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True))
    if nodata:
        tags.append((GDAL_NODATA, "s", 0, nodata, True))
    bands = {"photometric": "minisblack", "planarconfig": "contig"} if values.ndim == 3 else {}
    tifffile.imwrite(path, values, extratags=tags, metadata=None, **bands, **how)
    return str(path)


def opened(path: str, variable: str = "") -> xr.DataArray:
    return open_field(Source(path, variable), static=True)


def test_centres_of_pixels_that_are_areas_or_points(tmp_path):
    area = opened(write_tiff(tmp_path / "area.tif"))
    np.testing.assert_array_equal(area.values, VALUES)
    # The tie point is the corner of the first pixel: its centre lies half a pixel to the south-east.
    np.testing.assert_allclose(area["x"], 500_015 + 30 * np.arange(6))
    np.testing.assert_allclose(area["y"], 4_999_985 - 30 * np.arange(4))
    assert area["crs"].attrs["grid_mapping_name"] == "transverse_mercator"
    assert grid_of(area).cell_size_km() == pytest.approx(0.03)
    # The zone's meridian is 15° east, and easting 500 km lies on it: the first column is 15 m east of it.
    lon, lat = grid_of(area).lonlat()
    assert lon[0, 0] == pytest.approx(15 + 15 / (111_320 * np.cos(np.deg2rad(lat[0, 0]))), abs=1e-6)
    # Here it is the centre itself.
    point = opened(write_tiff(tmp_path / "point.tif", keys=(PROJECTED, POINT, UTM_33N)))
    np.testing.assert_allclose(point["x"], 500_000 + 30 * np.arange(6))
    np.testing.assert_allclose(point["y"], 5_000_000 - 30 * np.arange(4))


def test_rows_from_the_south(tmp_path):
    # x = 30 column + west, y = 30 row + south, of the corner of pixel (column, row)
    upward = [30, 0, 0, WEST, 0, 30, 0, NORTH, 0, 0, 0, 0, 0, 0, 0, 1]
    field = opened(write_tiff(tmp_path / "a.tif", matrix=upward))
    np.testing.assert_array_equal(field.values, VALUES)
    np.testing.assert_allclose(field["y"], 5_000_015 + 30 * np.arange(4))


def test_latitude_and_longitude_and_a_projection_that_cf_does_not_name(tmp_path):
    field = opened(write_tiff(tmp_path / "a.tif", keys=(GEOGRAPHIC, AREA, WGS_84), tie=(10.0, 50.0), side=0.5))
    assert grid_of(field).is_lonlat
    np.testing.assert_allclose(field["y"], 49.75 - 0.5 * np.arange(4))
    np.testing.assert_allclose(field["x"], 10.25 + 0.5 * np.arange(6))
    web = opened(write_tiff(tmp_path / "web.tif", keys=(PROJECTED, AREA, WEB_MERCATOR), tie=(0.0, 15.0)))
    assert str(grid_of(web)).endswith("popular visualisation pseudo mercator")
    lon, lat = grid_of(web).lonlat()
    assert lat[0] == pytest.approx(0.0, abs=1e-9)  # 15 m north of the equator is the upper edge
    assert lon[0, 0] == pytest.approx(np.rad2deg(15 / 6_378_137))


def test_bands_by_name_with_scale_offset_unit_and_nodata(tmp_path):
    items = "".join(
        f'<Item name="{role}" sample="{band}" role="{role.lower()}">{text}</Item>'
        for band, texts in enumerate(({"DESCRIPTION": "B04"}, {"DESCRIPTION": "B08"}))
        for role, text in (texts | {"SCALE": "0.01", "OFFSET": f"{band - 1}", "UNITTYPE": "K"}).items()
    )
    values = np.stack([VALUES, 100 * VALUES], axis=-1)
    path = write_tiff(tmp_path / "a.tif", values, items=items, nodata="300")
    summary = describe(path)
    assert [(variable.name, variable.shape) for variable in summary.variables] == [("B04", (4, 6)), ("B08", (4, 6))]
    assert (summary.n_times, summary.grid[:11]) == (0, "4 × 6 cells")
    assert opened(path, "B04").attrs["units"] == "K"
    np.testing.assert_allclose(opened(path, "B04").values, 0.01 * VALUES - 1, rtol=1e-6)
    expected = np.where(VALUES == 3, np.nan, VALUES * 1.0)  # 0.01 · 100 · value; 300 is missing, before scaling
    np.testing.assert_allclose(opened(path, "B08").values, expected, rtol=1e-6)
    assert "has several variables (B04, B08)" in refusal(DataError, path, static=True)
    unnamed = write_tiff(tmp_path / "b.tif", values)
    np.testing.assert_array_equal(opened(unnamed, "band_2"), 100 * VALUES)


def test_jpeg_2000(tmp_path):
    import rasterio

    place = rasterio.Affine(SIDE, 0, WEST, 0, -SIDE, NORTH)
    values = np.arange(32 * 32, dtype=np.uint16).reshape(1, 32, 32)
    lossless = {"QUALITY": 100, "REVERSIBLE": "YES", "driver": "JP2OpenJPEG", "dtype": "uint16"}
    with rasterio.open(
        tmp_path / "a.jp2", "w", width=32, height=32, count=1, crs="EPSG:32633", transform=place, **lossless
    ) as file:
        file.write(values)
    np.testing.assert_array_equal(opened(str(tmp_path / "a.jp2")), values[0])


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ({"keys": ()}, GridError, "names no coordinate reference system"),
        (
            {"matrix": [26, 15, 0, WEST, 15, -26, 0, NORTH, 0, 0, 0, 0, 0, 0, 0, 1]},
            GridError,
            "is rotated: its rows and columns don't follow x and y: expected a north-up raster; bring it onto x and y "
            "first (gdalwarp",
        ),
        ({"values": VALUES.astype(np.complex64)}, DataError, "holds complex64, no numbers"),
    ],
)
def test_what_is_refused(tmp_path, what, kind, message):
    assert message in refusal(kind, write_tiff(tmp_path / "a.tif", **what), "band_1", static=True)


def test_several_rasters_in_a_file_and_a_file_cut_off(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        file.write(VALUES, metadata=None)
        file.write(VALUES[:2], metadata=None)
    assert "holds 2 rasters" in refusal(DataError, tmp_path / "pages.tif", static=True)
    path = Path(write_tiff(tmp_path / "a.tif"))
    path.write_bytes(path.read_bytes()[:40])
    assert f"{path} can't be read (" in refusal(DataError, path, static=True)


def test_without_rasterio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    message = refusal(DataError, write_tiff(tmp_path / "a.tif"), static=True)
    assert "is read by rasterio, which isn't installed" in message
    assert "pip install 'mesoscope[geotiff]'" in message


def test_a_stack_of_files_with_a_date_in_each_name(tmp_path):
    for name, offset in (("S2_20200131T105309_B04.tif", 1), ("S2_2019-12-31_B04.tif", 0)):
        write_tiff(tmp_path / name, VALUES + np.uint16(offset))
    notes: list[str] = []
    field = open_field(Source(str(tmp_path / "S2_*.tif")), notes=notes)
    np.testing.assert_array_equal(field["time"], np.array(["2019-12-31", "2020-01-31"], "M8[ns]"))
    np.testing.assert_array_equal(field.values, [VALUES, VALUES + 1])
    assert notes[0].endswith("has no time: 2019-12-31T00:00:00 is taken from its name")


@pytest.mark.parametrize(
    "name",
    [
        "LC08_20170616_20170629.tif",  # acquired, and processed
        "scene_20190230.tif",
        "tile_120190101.tif",
        "2019-0101.tif",
        "mean_2019.tif",
    ],
)
def test_names_without_one_date(tmp_path, name):
    path = write_tiff(tmp_path / name)
    assert "has no time dimension, only (y, x): expected time, y and x, or one date in the name" in refusal(
        TimeError, path
    )
    assert open_field(Source(path), undated=True)["time"].values == np.datetime64("1970-01-01")


def scene(path: str, variable: str = "", **options: Any) -> DataOptions:
    return DataOptions(target={"path": path, "variable": variable}, **{"scale": 2, **options})


def test_rows_of_a_single_image_are_split(tmp_path):
    values = np.arange(20 * 6, dtype=np.float32).reshape(20, 6)
    path = write_tiff(tmp_path / "a.tif", values)
    pairs = pair(scene(path, split={"train": 0.5, "validation": 0.2, "test": 0.3}))
    assert [part.tolist() for part in (pairs.parts.train, pairs.parts.validation, pairs.parts.test)] == [[0], [1], [2]]
    block = pairs.read(np.arange(3))
    # 10 LR rows: 5 to learn from, 2 and 3, each of two HR rows
    for step, rows in enumerate((slice(0, 10), slice(10, 14), slice(14, 20))):
        np.testing.assert_array_equal(np.isfinite(block.hr[step]).all(1), np.isin(np.arange(20), np.arange(20)[rows]))
        np.testing.assert_array_equal(block.hr[step, rows], values[rows])
        np.testing.assert_allclose(block.lr[step], values.reshape(10, 2, 3, 2).mean((1, 3)), rtol=1e-6)
    normalizer = fit_normalizer(pairs, "standard")
    assert (normalizer.hr_min, normalizer.hr_max) == (0, 59)  # of the training rows alone
    assert normalizer.mask.all()
    assert not normalizer.lr_has_gaps
    assert pairs.notes[-1] == (
        "there is a single time step, so data.split is by rows: "
        "train rows 1 to 10 of HR (y 4999985 to 4999715), "
        "validation rows 11 to 14 of HR (y 4999685 to 4999595), "
        "test rows 15 to 20 of HR (y 4999565 to 4999415)"
    )
    normalizer.save(tmp_path / "scaling.nc", pairs)
    other = write_tiff(tmp_path / "lr.tif", values[::2, ::2], side=2 * SIDE)
    new = pair_for_downscaling(scene(path), load_hr_template(tmp_path / "scaling.nc"), other)
    np.testing.assert_array_equal(new.read(np.arange(1)).lr[0], values[::2, ::2])


def test_a_gap_between_rows_and_what_does_not_suit_a_single_image(tmp_path):
    values = np.arange(20 * 6, dtype=np.float32).reshape(20, 6)
    path = write_tiff(tmp_path / "a.tif", values)
    pairs = pair(scene(path, split=Split(0.5, 0.2, 0.3, gap=1)))
    known = np.isfinite(pairs.read(np.arange(3)).hr).all(2)
    assert [np.flatnonzero(rows)[[0, -1]].tolist() for rows in known] == [[0, 7], [10, 11], [14, 19]]
    with pytest.raises(TimeError, match="data.time_window is 3, but there is a single time step"):
        pair(scene(path, time_window=3))
    dates = {part: ["2001", "2002"] for part in ("train", "validation", "test")}
    with pytest.raises(TimeError, match="data.split is by dates, but there is a single time step, whose rows"):
        pair(scene(path, split=dates))
    with pytest.raises(TimeError, match="no row for validation: the data have a single time step, and 10 LR rows"):
        pair(scene(path, split={"train": 0.9, "validation": 0.01, "test": 0.09}))
    with pytest.raises(TimeError, match="band_1 in .* has no time dimension"):
        pair(scene(write_field(tmp_path / "b.nc", ny=20, nx=6, times=1), predictors=[{"path": path}]))


def test_lr_of_landsat_is_the_mean_of_its_pixels(shared_data):
    path = str(shared_data / "landsat7_olinda.tif")
    bands = tifffile.imread(path)
    pixels = np.moveaxis(bands, int(np.argmin(bands.shape)), -1).astype(float)  # (y, x, band)
    dem = {"path": str(shared_data / "landsat7_olinda_dem.nc"), "variable": "dem"}
    pairs = pair(scene(path, "band_4", scale=4, static=[dem]))
    expected = pixels[:, :348, 3].reshape(88, 4, 87, 4).mean((1, 3))
    np.testing.assert_allclose(pairs.read(np.array([2])).lr[0], expected, rtol=1e-6)
    with xr.open_dataset(shared_data / "landsat7_olinda.nc") as same:
        np.testing.assert_allclose(pairs.hr_grid.x, same["x"][:348])
        np.testing.assert_allclose(pairs.hr_grid.y, same["y"])
        np.testing.assert_array_equal(pixels[..., 3], same["dn"][3])
    assert any("data.static[0] ends within one of its cells before HR does" in note for note in pairs.notes)
