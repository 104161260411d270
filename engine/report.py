"""A comparison of runs as one HTML file that needs no other: scores, maps, spectra, definitions, specs, commands."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from string import ascii_uppercase
from urllib.parse import quote

import xarray as xr

from engine.assets import ASSETS
from engine.data.grid_coordinates import grid_of
from engine.data.netcdf import open_netcdf
from engine.errors import DataError, RequestError
from engine.evaluation import exceedance, extremes, plausibility
from engine.evaluation.figure import draw_scores, draw_spectra
from engine.evaluation.products import BASELINES, open_products
from engine.evaluation.sal import COMPONENTS, mean_sal
from engine.evaluation.score_records import ProductScores, Scores
from engine.evaluation.significance import (
    SCORES,
    best_of,
    errors_of,
    interval_texts,
    intervals,
    verdict,
)
from engine.evaluation.tables import heading, score_frame, shortfall
from engine.files import read_json
from engine.runs import Run
from engine.spec.yaml import dump_yaml, load_yaml

COMMANDS = ("scores", "verify", "report")
Rows = Iterable[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Parts of a report that are of one run.

    results, verification : content of test.nc and verification.nc.
    inputs : name and sha256 of each file that it read.
    """

    letter: str
    run: Run
    results: xr.Dataset
    verification: xr.Dataset
    scores: Scores
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[tuple[str, str]] = ()

    @classmethod
    def read(cls, letter: str, run: Run, files: ExitStack) -> Evidence:
        """Open the files of a run, which `files` closes.

        Raises
        ------
        RequestError
            If it isn't evaluated, or verified, yet.
        """
        scores = run.scores()
        if scores is None or not run.results.is_file():
            raise RequestError(f"run {run.id} has no results yet", action="wait for its end, or resume it")
        verify = f"python -m engine verify {run.id}"
        if not run.verification.is_file():
            raise RequestError(f"run {run.id} has no verification.nc", action=verify)
        results = files.enter_context(open_netcdf(run.results, decode_coords="all"))
        verification = files.enter_context(open_netcdf(run.verification, decode_coords="all"))
        if "step_mse" not in verification:
            raise RequestError(f"verification.nc of run {run.id} has no errors of steps", action=verify)
        inputs, versions = _request(run)
        return cls(letter, run, results, verification, Scores.from_plain(scores), versions, inputs)

    @property
    def name(self) -> str:
        return f"{self.letter} {self.run.title}"

    @property
    def units(self) -> str:
        return str(self.results["hr"].attrs.get("units", ""))


def report_of(runs: Sequence[Run], thresholds: Sequence[float] = ()) -> str:
    """Make the report of runs of one variable, as HTML.

    thresholds : of events that are scored, in the unit of the runs.

    Raises
    ------
    RequestError
        If a run has no results or verification, another unit than the first, or there are more than 26.
    """
    if len(runs) > len(ascii_uppercase):
        raise RequestError(f"a report has at most {len(ascii_uppercase)} runs", action="leave some out")
    with ExitStack() as files:
        found = [Evidence.read(letter, run, files) for letter, run in zip(ascii_uppercase, runs, strict=False)]
        if other := next((each for each in found if each.units != found[0].units), None):
            raise RequestError(
                f"run {other.run.id} is in {other.units or 'no unit'}, {runs[0].id} in {found[0].units or 'no unit'}",
                action="report on runs of one variable",
            )
        return _page(found, sorted(set(thresholds)))


def crate_of(runs: Sequence[Run], report: str, content: str) -> dict[str, object]:
    """Describe a report for archives that read RO-Crate: which runs it is of, from which input files, made by what.

    report, content : name of the HTML file beside the description, and what it holds.

    Source: RO-Crate 1.1, doi:10.5281/zenodo.4031327.
    """
    entities: dict[str, dict[str, object]] = {}

    def add(identifier: str, kind: str, /, **facts: object) -> dict[str, str]:
        entities[identifier] = {"@id": identifier, "@type": kind, **facts}
        return {"@id": identifier}

    title, today = f"Downscaling of {runs[0].field}", datetime.now(UTC).date().isoformat()
    size = str(len(content.encode()))
    page = add(quote(report), "File", name=title, encodingFormat="text/html", contentSize=size)
    about = add(
        "./", "Dataset", name=title, datePublished=today, hasPart=[page],
        description=f"Scores, error maps and spectra of {', '.join(run.title for run in runs)}.",
    )  # fmt: skip
    conforms = {"@id": "https://w3id.org/ro/crate/1.1"}
    add("ro-crate-metadata.json", "CreativeWork", conformsTo=conforms, about=about)
    for run in runs:
        inputs, versions = _request(run)
        tools = [add(f"#{name} {v}", "SoftwareApplication", name=name, version=v) for name, v in versions.items()]
        files = [
            add(
                f"#{checksum or name}",
                "CreativeWork",
                name=name,
                **({"identifier": f"sha256:{checksum}"} if checksum else {}),
            )
            for name, checksum in inputs
        ]
        add(f"#{run.id}", "CreateAction", name=run.title, instrument=tools, object=files, result=page)
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": list(entities.values())}


def _request(run: Run) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Name and sha256 of each input file of a run, and version of each program, as far as they were recorded."""
    request = read_json(run.request_file)
    inputs, versions = request.get("inputs"), request.get("versions")
    return (
        [(Path(str(each["path"])).name, str(each.get("sha256") or "")) for each in inputs]
        if isinstance(inputs, list)
        else [],
        {str(name): str(version) for name, version in versions.items()} if isinstance(versions, dict) else {},
    )


def _page(runs: Sequence[Evidence], thresholds: Sequence[float]) -> str:
    ids = " ".join(each.run.id for each in runs)
    title = f"Downscaling of {runs[0].run.field}"
    marks = [f"{each.name} {mark}." for each in runs if (mark := shortfall(each.scores))]
    commands = [f"python -m engine train spec-{each.letter}.yaml   # the spec of {each.letter} below" for each in runs]
    asked = "".join(f" --threshold {value:.15g}" for value in thresholds)
    commands += [
        f"python -m engine {command} {ids}{asked if command != 'scores' else ''}   # the ids that train prints"
        for command in COMMANDS
    ]
    definitions = load_yaml((ASSETS / "definitions.yaml").read_text(encoding="utf-8"), "definitions.yaml")
    sections = {
        "What is compared": _table(*_facts(runs)),
        "Scores, mean ± standard deviation over test steps": _scores(runs) + _paragraphs(marks),
        "Intervals and differences": _significance(runs),
        "Error maps": _maps(runs),
        "Spectra": _spectra(runs),
        **_physical(runs, thresholds),
        "Definitions": _table(["number", "definition"], [[str(name), str(text)] for name, text in definitions.items()]),
        "Input files": _table(["run", "file", "sha256"], [(e.letter, *each) for e in runs for each in e.inputs]),
        "How to reproduce it": f"<pre>{html.escape(chr(10).join(commands))}</pre>",
    }
    for each in runs:
        plain = {name: section for name, section in each.run.spec.plain().items() if name != "launch"}
        spec = dump_yaml(_without_folders(plain))
        sections[f"Spec of {each.name}"] = f"<pre class=spec>{html.escape(spec)}</pre>"
    body = "".join(f"<section><h2>{html.escape(head)}</h2>{content}</section>" for head, content in sections.items())
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>'
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    )


def _facts(runs: Sequence[Evidence]) -> tuple[list[str], Rows]:
    rows = []
    for each in runs:
        times, data = each.results.indexes["time"], each.run.spec.data
        split = ", ".join(f"{part} {value}" for part, value in data.split.plain().items())
        period = f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}" if len(times) else "no steps"
        versions = ", ".join(f"{name} {version}" for name, version in each.versions.items())
        grid = grid_of(each.results["hr"])
        facts = [f"{len(times)} steps, {period}", split, f"{data.pairing}, scale {data.scale}", str(grid), versions]
        rows.append([each.name, each.run.id, each.run.field, *facts])
    return ["run", "id", "field", "test part", "split", "pairing", "grid", "versions"], rows


def _scores(runs: Sequence[Evidence]) -> str:
    first = runs[0].scores
    products: dict[str, ProductScores] = {"interpolated": first.interpolated, **first.baselines}
    products |= {each.letter: each.scores.downscaled for each in runs}
    frame = score_frame(products, {name: name for name in products}, runs[0].units)
    rows = [[_names(runs)[str(name)], *cells] for name, cells in zip(frame.index, frame.values, strict=True)]
    return _table(["", *frame.columns], rows)


def _significance(runs: Sequence[Evidence]) -> str:
    errors, left_out = errors_of({each.letter: each.verification for each in runs})
    if not len(errors.weight):
        return _paragraphs(["There are no values to compare."])
    names = _names(runs)
    references = [best_of(errors, [product for product in errors.products if product not in ascii_uppercase])]
    references += [runs[0].letter] if len(runs) > 1 else []
    rows = [
        [
            names[product],
            *(
                f"{value} ({low} to {high})" if low else value
                for value, low, high in (interval_texts(of_product[score]) for score in SCORES)
            ),
            *(verdict(errors, product, reference) or "–" for reference in references),
        ]
        for product, of_product in intervals(errors).items()
    ]
    heads = ["", *(heading(score, runs[0].units) for score in SCORES), *(f"against {names[r]}" for r in references)]
    return _table(heads, rows) + _paragraphs([f"{names[key]} is left out: {why}." for key, why in left_out.items()])


def _maps(runs: Sequence[Evidence]) -> str:
    images = []
    for score, is_centred in (("rmse", False), ("bias", True)):
        fields = {
            _names(runs)[key]: verification[score].sel(season="all", product=product)
            for key, (verification, product) in _products(runs).items()
        }
        label = heading(score, runs[0].units)
        png = _drawn(partial(draw_scores, fields, label, is_centred))
        source = base64.b64encode(png).decode()
        images.append(f'<img alt="{html.escape(label)} of each cell" src="data:image/png;base64,{source}">')
    return "".join(images)


def _spectra(runs: Sequence[Evidence]) -> str:
    parts, rows = [], []
    drawn = {key: (v, p) for key, (v, p) in _products(runs).items() if "power" in v}
    for kind in ("power", "coherence") if drawn else ():
        curves = {
            _names(runs)[key]: (v["wavelength"].values, v[kind].sel(product=product).values)
            for key, (v, product) in drawn.items()
        }
        if kind == "power":
            first = next(iter(drawn.values()))[0]
            curves = {"HR": (first["wavelength"].values, first["hr_power"].values)} | curves
        label = f"power (({runs[0].units})²)" if kind == "power" else kind
        svg = _drawn(partial(draw_spectra, curves, label, kind == "power")).decode()
        parts.append(svg[svg.index("<svg") :])
    for key, (verification, product) in drawn.items():
        resolution = float(verification["effective_resolution"].sel(product=product, criterion="both"))
        rows.append([_names(runs)[key], f"{resolution:.4g}" if resolution == resolution else "none"])
    left_out = [f"{e.name}: {e.verification.attrs['spectra_left_out']}." for e in runs if "power" not in e.verification]
    return "".join(parts) + (_table(["", "effective resolution (km)"], rows) if rows else "") + _paragraphs(left_out)


def _physical(runs: Sequence[Evidence], thresholds: Sequence[float]) -> dict[str, str]:
    """Sections on SAL, exceedance, plausibility, extremes: simple methods of the first run, and each run."""
    names, sections, notes = _names(runs), {}, []
    of_indices: dict[str, list[list[str]]] = {}
    numbers: dict[str, list[list[str]]] = {}
    for each in runs:
        with open_products(each.run.results) as products:
            numbers[each.letter] = plausibility.table_of(plausibility.plausibility(products), each.units)
            if extremes.kind_of(products["hr"].attrs):
                try:
                    found = extremes.extremes(products)
                except DataError as error:
                    notes.append(f"{each.name} has no indices of extremes: {error}.")
                    continue
                of_indices[each.letter] = extremes.table_of(found)
                notes.append(f"{each.name}: {extremes.period_of(found)}.")
    sal = {key: mean_sal(v.sel(product=p)) for key, (v, p) in _products(runs).items() if "step_sal" in v}
    if sal:
        rows = [[names[key], *(f"{size:.3f}" for size in sizes.values())] for key, sizes in sal.items()]
        sections["SAL, mean size over test steps"] = _table(["", *COMPONENTS], rows)
    if thresholds:
        rows = []
        for each in runs:
            with open_products(each.run.results) as products:
                heads, *own = exceedance.table_of(exceedance.exceedance(products, thresholds))
            rows += [
                [names[each.letter if key == "downscaled" else key], threshold, *cells]
                for threshold, key, *cells in own
                if each is runs[0] or key == "downscaled"
            ]
        rows.sort(key=lambda row: float(row[1]))
        sections[f"Exceedance ({runs[0].units})"] = _table(["", "threshold", *heads[2:]], rows)
    sections["Plausibility"] = _joined(numbers, names)
    if of_indices or notes:
        table = _joined(of_indices, names) if of_indices else ""
        sections["Indices of extremes, HR and bias"] = table + _paragraphs(notes)
    return sections


def _joined(tables: Mapping[str, list[list[str]]], names: Mapping[str, str]) -> str:
    """One table of those of runs by letter that have the same heads: simple methods of the first, and each run.

    HR of runs where it has other values than in the first is named by their letter.
    """
    by_heads: dict[tuple[str, ...], list[str]] = {}
    for letter, table in tables.items():
        by_heads.setdefault(tuple(table[0]), []).append(letter)
    texts = []
    for heads, letters in by_heads.items():
        first = {row[0].lower(): row[1:] for row in tables[letters[0]][1:]}
        rows = [["HR" if key == "hr" else names[key], *row] for key, row in first.items() if key != "downscaled"]
        for letter in letters:
            own = {row[0].lower(): row[1:] for row in tables[letter][1:]}
            rows += [[f"HR of {letter}", *own["hr"]]] if own["hr"] != first["hr"] else []
            rows.append([names[letter], *own["downscaled"]])
        texts.append(_table(heads, rows))
    return "".join(texts)


def _products(runs: Sequence[Evidence]) -> dict[str, tuple[xr.Dataset, str]]:
    """Verification and product of what is drawn: all simple methods of the first run, and each run by its letter."""
    first = runs[0].verification
    simple = {str(name): (first, str(name)) for name in first["product"].values if name != "downscaled"}
    return simple | {each.letter: (each.verification, "downscaled") for each in runs}


def _names(runs: Sequence[Evidence]) -> dict[str, str]:
    interpolated = f"interpolated ({runs[0].run.spec.data.interpolation})"
    return {"interpolated": interpolated} | BASELINES | {each.letter: each.name for each in runs}


def _without_folders(value: object) -> object:
    """Replace paths of files by their names."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and "/" in value and "://" not in value else value


def _drawn(draw: Callable[[BytesIO], None]) -> bytes:
    file = BytesIO()
    draw(file)
    return file.getvalue()


def _table(heads: Sequence[str], rows: Rows) -> str:
    """Make a table of texts, the first of each row being its heading."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    lines = [
        "".join(f"<{'td' if k else 'th'}>{html.escape(text)}</{'td' if k else 'th'}>" for k, text in enumerate(row))
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts)
