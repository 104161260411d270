"""Title, field and inputs of a run, from its spec."""

from __future__ import annotations

from pathlib import Path

from engine.files import sha256
from engine.spec import Spec

HASHED_BYTES = 2**30  # larger inputs are recorded by size and time alone


def title_of(spec: Spec) -> str:
    """The user's title, else what distinguishes networks: 'resnet · spc · LCB'."""
    local = " · LCB" if spec.model.localized else ""
    return spec.launch.title or f"{spec.model.backbone} · {spec.model.upsampling}{local}"


def field_of(spec: Spec) -> str:
    """Variable and file of the target: 't2m · era5_uk_t2m.grib'."""
    target = spec.data.target
    return " · ".join(filter(None, [target.variable, Path(target.files()[0]).name]))


def describe_inputs(spec: Spec) -> list[dict[str, object]]:
    """Path, size, time and, up to 1 GiB, sha256 of each input file."""
    return [_describe_input(name) for name in spec.data.files()]


def _describe_input(name: str) -> dict[str, object]:
    path = Path(name)
    if not path.is_file():
        return {"path": name}
    stat = path.stat()
    facts: dict[str, object] = {"path": str(path), "bytes": stat.st_size, "modified": stat.st_mtime}
    return {**facts, "sha256": sha256(path)} if stat.st_size <= HASHED_BYTES else facts
