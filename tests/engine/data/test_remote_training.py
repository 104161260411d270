"""Trainings from servers, without a copy of the data: the weights are those of a training from a file here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.data import remote_files
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs, pair
from engine.data.samples import Samples
from engine.errors import DataError
from engine.runs import Run
from engine.spec import DataOptions, Spec
from engine.training import assembly, checkpoints
from tests.engine.data.data_server import DataServer, end_s3_connections, s3_environment, serving
from tests.engine.data.mock import make_field
from tests.engine.data.test_rasters import AREA, GEOGRAPHIC, WGS_84, write_tiff
from tests.engine.data.test_remote_data import shorten_waits, with_days, write_zarr
from tests.engine.launch.engine_processes import CommandLine, no_processes_left
from tests.engine.training.small_training import SOLE_WORKER, Lab, make_training

FIELD = make_field(ny=64, nx=96, dy=0.125, dx=0.125, north_first=True)  # the NetCDF library reads smaller ones at once
RASTER = (384, 512)  # rows and columns, of which the field takes some at ROW, COLUMN
ROW, COLUMN = 256, 384
DAYS = [str(day)[:10] for day in FIELD["time"].values]
SPEC = Spec.from_plain(
    {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2, "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
        "model": {"n_filters": 4, "n_blocks": 1},
        "training": {"epochs": 1, "batch_size": 5},  # two steps
    }
)
KINDS = ("zarr", "s3", "kerchunk", "opendap", "geotiff")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:zarr.errors.ZarrUserWarning"
)


@dataclass
class Site:
    """A server that has the field in each form."""

    server: DataServer
    paths: dict[str, str | list[str]] = field(default_factory=dict)

    def pairs(self, kind: str) -> Pairs:
        edges = {name: (float(FIELD[name].min()), float(FIELD[name].max())) for name in ("lat", "lon")}
        region = {name: [low - 0.0625, high + 0.0625] for name, (low, high) in edges.items()}
        given = {"path": self.paths[kind]}
        return pair(DataOptions(target=given, scale=2, split=SPEC.data.split.plain(), region=region))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The field as a Zarr store, references to parts of one file, a stack of tiled GeoTIFF, and a file here."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "bucket").mkdir()
    write_zarr(folder / "bucket" / "a.zarr", FIELD)
    FIELD.to_netcdf(folder / "hr.nc")
    tie = float(FIELD["lon"][0]) - 0.125 * (COLUMN + 0.5), float(FIELD["lat"][0]) + 0.125 * (ROW + 0.5)
    for day, values in zip(DAYS, FIELD["t2m"].values, strict=True):
        image = np.zeros(RASTER, np.float32)
        image[ROW : ROW + 64, COLUMN : COLUMN + 96] = values
        write_tiff(
            folder / f"a_{day}.tif", image, keys=(GEOGRAPHIC, AREA, WGS_84), tie=tie, side=0.125, tile=(64, 64),
            items='<Item name="UNITTYPE" sample="0" role="unittype">K</Item>',
        )  # fmt: skip
    return folder


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("MESOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", "1")
    monkeypatch.setattr(remote_files, "PAUSES_S", (0.0, 0.0))
    with serving(folder, with_days(FIELD)) as server:
        for name, value in s3_environment(server).items():
            monkeypatch.setenv(name, value)
        write_packed_reference(folder / "refs.json", folder, server.url)
        yield Site(
            server,
            {
                "here": str(folder / "hr.nc"),
                "zarr": f"{server.url}/bucket/a.zarr",
                "s3": "s3://bucket/a.zarr",
                "kerchunk": f"{server.url}/refs.json",
                "opendap": server.dap_url,
                "geotiff": [f"{server.url}/a_{day}.tif" for day in DAYS],
            },
        )
        end_s3_connections()


def write_packed_reference(path: Path, folder: Path, url: str) -> None:
    """Put all chunks into one file, and refer to its parts."""
    refs: dict[str, object] = {}
    with open(folder / "packed.bin", "wb") as packed:
        for file in sorted((folder / "bucket" / "a.zarr").rglob("*")):
            key = str(file.relative_to(folder / "bucket" / "a.zarr"))
            if file.name in (".zgroup", ".zarray", ".zattrs"):
                refs[key] = file.read_text()
            elif file.is_file() and file.name != ".zmetadata":
                refs[key] = [f"{url}/packed.bin", packed.tell(), file.stat().st_size]
                packed.write(file.read_bytes())
    path.write_text(json.dumps({"version": 1, "refs": refs}))


@pytest.fixture(scope="module")
def lab(folder: Path) -> Lab:
    """The network, traced once, and its training from the file here."""
    assembly.make_reproducible(SPEC)
    pairs = pair(DataOptions(target={"path": str(folder / "hr.nc")}, scale=2, split=SPEC.data.split.plain()))
    lab, normalizer = samples_of(pairs), fit_normalizer(pairs, "standard")
    network = assembly.build_network(SPEC, pairs, normalizer)
    lab.step = assembly.build_step(SPEC, SOLE_WORKER, network, pairs, normalizer, 2)
    lab.start = [variable.numpy() for variable in lab.variables()]
    return lab


def samples_of(pairs: Pairs) -> Lab:
    normalizer = fit_normalizer(pairs, "standard")
    train, validation = (
        Samples(pairs, normalizer, SPEC.data, part) for part in (pairs.parts.train, pairs.parts.validation)
    )
    return Lab(train, validation, None, [], SPEC)


def trained(lab: Lab, pairs: Pairs, folder: Path) -> str:
    """Train the network of the lab from its start; returns the checksum of its weights."""
    lab.reset()
    other = samples_of(pairs)
    assert make_training(Lab(other.train, other.validation, lab.step, lab.start, SPEC), folder).run() is True
    return checkpoints.fingerprint(lab.step.network.trainable_variables)


@pytest.fixture(scope="module")
def weights_from_here(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    return trained(lab, lab.train.pairs, tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_trains_from_a_server_and_each_step_is_read_once(kind, site, lab, weights_from_here, tmp_path):
    server, pairs = site.server, site.pairs(kind)
    opening = len(server.requests)
    assert trained(lab, pairs, tmp_path / "run") == weights_from_here
    np.testing.assert_array_equal(pairs.read(np.arange(20)).hr, FIELD["t2m"])
    asked = server.requests[opening:]
    if kind in ("zarr", "s3"):
        assert sorted(asked) == sorted(f"/bucket/a.zarr/t2m/{step}.0.0" for step in range(20))
    if kind == "kerchunk":
        assert asked == 20 * ["/packed.bin"]
    if kind == "opendap":
        assert sorted(steps_asked(asked)) == list(range(20))
    if kind == "geotiff":
        assert 0 < server.n_bytes < 20 * 4 * np.prod(RASTER) / 2
    again = site.pairs(kind)
    opening = len(server.requests)
    np.testing.assert_array_equal(again.read(np.arange(20)).hr, FIELD["t2m"])
    assert server.requests[opening:] == []


def steps_asked(requests: list[str]) -> list[int]:
    """Time steps in requests such as /dap/field.dods?t2m[3:7][0:63][0:95], [3][… or, for all, without a range."""
    ranges = [re.search(r"\?t2m\[(\d+)(?::(\d+))?\]", unquote(path)) for path in requests]
    return [
        step
        for found in ranges
        for step in (range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(20))
    ]


@pytest.mark.parametrize("failure", ["403", "cut", "stall"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_fails_while_data_are_read_loses_nothing(kind, failure, site, monkeypatch):
    if failure == "stall":
        shorten_waits(monkeypatch)
    server, pairs = site.server, site.pairs(kind)
    pairs.read(np.arange(3))
    server.failure = failure
    with pytest.raises(DataError, match="(t2m|band_1) and its predictors can no longer be read") as caught:
        pairs.read(np.array([5]))
    assert "very-secret" not in str(caught.value)
    np.testing.assert_array_equal(pairs.read(np.arange(3)).hr, FIELD["t2m"][:3])  # what was read is there
    server.failure = ""
    np.testing.assert_array_equal(pairs.read(np.array([5])).hr, FIELD["t2m"][[5]])


@pytest.mark.slow
def test_a_run_trains_from_a_bucket_with_keys_of_a_file(tmp_path, monkeypatch):
    field = make_field(ny=16, nx=24, times=40)
    (tmp_path / "bucket").mkdir()
    write_zarr(tmp_path / "bucket" / "a.zarr", field)
    with serving(tmp_path) as server, no_processes_left(tmp_path):
        named = s3_environment(server)
        keys = [f"{name.lower()} = {named.pop(name)}\n" for name in list(named) if "KEY" in name]
        (tmp_path / "credentials").write_text("".join(["[default]\n", *keys]))  # runs see no keys of the environment
        for name, value in {**named, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}.items():
            monkeypatch.setenv(name, value)
        spec = {
            "version": 1,
            "data": {"target": {"path": "s3://bucket/a.zarr"}, "scale": 2},
            "model": {"n_filters": 4, "n_blocks": 1},
            "training": {"epochs": 1},
        }
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        answer = CommandLine(tmp_path / "runs").json("train", str(tmp_path / "spec.yaml"))
    run = Run(Path(answer["folder"]))
    results = xr.load_dataset(run.results)
    np.testing.assert_array_equal(results["hr"], field["t2m"].sel(time=results["time"]))
    kept = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not any(b"very-secret" in path.read_bytes() for path in kept)
    assert not any((tmp_path / "runs").rglob("*.zarr"))  # no copy of the store
