"""Check of a spec by the engine in a process of its own: grids, samples, parameters, memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from engine.data.input_values import InputValues
from engine.errors import MesoscopeError, RequestError
from engine.network_part import MeasuredPart
from engine.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "engine", "check", "-", "--json")
TIME_LIMIT_S = 300.0


@dataclass(frozen=True)
class Answer:
    """Content of `engine check --json`; None or empty where it has no answer.

    grids : text of each grid, by name.
    periods : first and last moment of each part, ISO 8601.
    network : parts that a field goes through.
    """

    grids: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[InputValues] = ()
    samples: Mapping[str, int] = field(default_factory=dict)
    periods: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parameters: int | None = None
    discriminator: int = 0
    velocity: int = 0
    flow: int = 0
    memory_bytes: int | None = None
    network: Sequence[MeasuredPart] = ()
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        known = {each.name: document[each.name] for each in fields(cls) if each.name in document}
        grids = {name: grid["text"] for name, grid in document.get("grids", {}).items()}
        inputs = tuple(InputValues(**values) for values in document.get("inputs", []))
        network = tuple(MeasuredPart(**part) for part in document.get("network", []))
        return cls(**{**known, "grids": grids, "inputs": inputs, "network": network})


def command_in(store: Path) -> tuple[str, ...]:
    """The check's command, where a run that training starts from is looked for in this store."""
    return (*COMMAND, "--store", str(store))


async def check(spec: Spec, command: Sequence[str] = COMMAND, time_limit_s: float = TIME_LIMIT_S) -> Answer:
    """The engine's answer about a spec; cancelling the task ends the process.

    Raises
    ------
    RequestError
        If the engine refuses the spec, in the engine's words.
    MesoscopeError
        If the engine itself fails.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(time_limit_s):
            out, err = await process.communicate(spec.to_yaml().encode())
    except TimeoutError:
        raise MesoscopeError(
            f"the check took longer than {time_limit_s:g} s and was ended: are the files on a slow or sleeping disk?"
        ) from None
    finally:
        await _end(process)
    return _answer(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _answer(returncode: int | None, out: str, err: str) -> Answer:
    try:
        answer = json.loads(out)
    except json.JSONDecodeError:
        answer = {}
    if returncode == 0 and isinstance(answer, dict) and answer:
        return Answer.of(answer)
    if isinstance(answer, dict) and "error" in answer:
        raise RequestError(str(answer["error"]))
    last = next((line for line in reversed(err.splitlines()) if line.strip()), "it said nothing")
    raise MesoscopeError(f"the check failed with exit code {returncode}: {last}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
