"""The report: numbers of verification.nc in plain HTML, nothing from outside, no path, titles as text."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xarray as xr

from engine.cli import main
from engine.evaluation.exceedance import exceedance
from engine.evaluation.products import open_products
from engine.files import read_json, to_json, write_whole
from engine.runs import Run
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 12}
EVIL = '<script>alert("x")</script>'


class Tables(HTMLParser):
    """Cells of all tables, and all elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.lasttag in ("td", "th"):
            self.rows[-1][-1] += data

    def row(self, start: str, number: int = 0) -> list[str]:
        return [row for row in self.rows if row and row[0].startswith(start)][number]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Run], str]:
    """The report of two runs, of which one has a title that is HTML, and an attribute too."""
    folder = tmp_path_factory.mktemp("report")
    runs = [
        write_run(folder / "runs", title, **SMALL, skill=skill, baselines=True)
        for title, skill in ((EVIL, 0.9), ("b", 0.1))
    ]
    request = read_json(runs[0].request_file)
    request["inputs"] = [{"path": str(folder / "<b>hr.nc"), "sha256": "abc"}]
    write_whole(runs[0].request_file, to_json(request))
    out = folder / "report.html"
    asked = ["--store", str(folder / "runs"), "-o", str(out), "--threshold", "281"]
    assert main(["report", *(run.id for run in runs), *asked]) == 0
    return folder, runs, out.read_text(encoding="utf-8")


def test_its_numbers_are_those_of_the_files(report):
    _, runs, text = report
    tables = Tables(text)
    for letter, run in zip("AB", runs, strict=True):
        with xr.open_dataset(run.verification) as stored:
            whole = stored.sel(season="all", product="downscaled")
            rmse, resolution = whole["area_rmse"].item(), whole["effective_resolution"].sel(criterion="both").item()
        scored, sure, resolved = (tables.row(f"{letter} ", number) for number in (1, 2, 3))
        mean = run.scores()["downscaled"]["rmse"]["mean"]
        assert float(scored[2].split(" ± ")[0]) == pytest.approx(mean, abs=0.006)
        value, low, _, high = sure[2].replace("(", "").replace(")", "").split()
        assert float(value) == pytest.approx(rmse, abs=0.06)
        assert float(low) < rmse < float(high)
        assert resolved[1] == f"{resolution:.4g}"
    against = next(row for row in tables.rows if "against PC regression" in row)
    assert against[-2:] == ["against PC regression", f"against A {EVIL}"]
    assert tables.row("A ", 2)[-2].startswith("better (p")
    assert tables.row("B ", 2)[-1].startswith("worse (p")
    assert "does not beat PC regression" in text


def test_it_has_exceedance_and_plausibility_and_says_which_indices_need_longer(report):
    _, runs, text = report
    tables = Tables(text)
    for letter, run in zip("AB", runs, strict=True):
        with open_products(run.results) as results:
            highest = float(results["downscaled"].max())
            csi = float(exceedance(results, [281.0])["csi"].sel(product="downscaled").item())
        events, physical = (tables.row(f"{letter} ", number) for number in (4, 5))
        assert events[1:2] == ["281"]
        assert events[4] == f"{csi:.3f}"
        assert physical[2] == f"{highest:.4g}"
    assert "none of the 12 time steps make a complete day" in text
    assert f"engine verify {' '.join(run.id for run in runs)} --threshold 281" in text


def test_it_needs_nothing_else_and_says_no_path(report):
    folder, _, text = report
    tables = Tables(text)
    assert str(folder) not in text
    assert str(Path.home()) not in text
    linked = [
        value for _, attrs in tables.elements for name, value in attrs.items() if name in ("src", "href", "xlink:href")
    ]
    assert [value for value in linked if value and not value.startswith(("data:image/png;base64,", "#"))] == []
    assert {"link", "script", "iframe"}.isdisjoint(tag for tag, _ in tables.elements)
    assert sum(tag == "img" for tag, _ in tables.elements) == 2
    assert sum(tag == "svg" for tag, _ in tables.elements) == 2


def test_titles_and_names_of_files_stay_text(report):
    _, _, text = report
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert Tables(text).row("A", -1)[1] == "<b>hr.nc"


def test_what_cannot_be_reported_is_said(report, tmp_path, capsys):
    folder, runs, _ = report
    store = ["--store", str(folder / "runs")]
    assert main(["report", runs[0].id, *store, "-o", str(folder / "report.html")]) == 2
    assert "exists already" in capsys.readouterr().err
    bare = write_run(folder / "runs", "bare", **SMALL, verified=False)
    assert main(["report", bare.id, *store, "-o", str(tmp_path / "r.html"), "--json"]) == 2
    assert f"python -m engine verify {bare.id}" in json.loads(capsys.readouterr().out)["error"]
    assert not (tmp_path / "r.html").exists()


def test_a_crate_describes_the_report(report, tmp_path, capsys):
    """As RO-Crate 1.1 asks: a flat graph in which each reference is found, and a root that has its part."""
    folder, runs, _ = report
    arguments = [runs[0].id, "--store", str(folder / "runs"), "-o", str(tmp_path / "my report.html"), "--crate"]
    assert main(["report", *arguments]) == 0
    text = (tmp_path / "ro-crate-metadata.json").read_text(encoding="utf-8")
    assert str(folder) not in text
    crate = json.loads(text)
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {each["@id"]: each for each in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    description = entities["ro-crate-metadata.json"]
    assert description["@type"] == "CreativeWork"
    assert description["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities[description["about"]["@id"]]
    assert root["@type"] == "Dataset"
    assert root["hasPart"] == [{"@id": "my%20report.html"}]
    assert entities["my%20report.html"]["contentSize"] == str((tmp_path / "my report.html").stat().st_size)
    action = entities[f"#{runs[0].id}"]
    assert entities[action["object"][0]["@id"]] == {
        "@id": "#abc", "@type": "CreativeWork", "name": "<b>hr.nc", "identifier": "sha256:abc"
    }  # fmt: skip
    assert all(reference["@id"] in entities for reference in (action["result"], *action["instrument"]))
    assert main(["report", *arguments, "--overwrite"]) == 0
    (tmp_path / "my report.html").unlink()
    assert main(["report", *arguments]) == 2
    assert "ro-crate-metadata.json exists already" in capsys.readouterr().err
    assert not (tmp_path / "my report.html").exists()
