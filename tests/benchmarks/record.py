"""Where benchmarks put their figures: one JSON document, printed and kept beside the tests' caches."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(os.environ.get("MESOSCOPE_BENCH", ".bench/results.json"))


def record(name: str, figures: dict[str, Any]) -> None:
    """Add a benchmark's figures to the document and print them."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known["machine"] = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    known[name] = figures
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    print(f"\n{name} {json.dumps(figures)}")
