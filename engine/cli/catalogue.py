"""The command `catalog`: data sets by name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.cli.output import answer
from engine.errors import RequestError
from engine.spec import Source, is_url, load_yaml


def catalog(args: argparse.Namespace) -> int:
    return {"list": _list, "add": _add, "check": _check, "cache": _cache}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from engine.data import disk_cache
    from engine.data.catalogue import Catalogue, site_file, user_file

    found = Catalogue.read()
    rows = [{"name": entry.name, **entry.plain(), "file": str(entry.file)} for entry in found.entries]
    damages = [{"name": one.name, "file": str(one.file), "error": one.message} for one in found.damages]
    width = max((len(entry.name) for entry in found.entries), default=0)
    lines = [f"{entry.name:<{width}}  {entry.role:<9}  {entry.text}" for entry in found.entries]
    for one in found.damages:
        sys.stderr.write(f"note: {one.file}: {one.message}\n")
    cache = disk_cache.state()
    if cache.entries or any(map(is_url, (path for entry in found.entries for path in entry.source.files()))):
        lines.append(str(cache))
    none = f"no data set yet: add some to {user_file()} with 'catalog add NAME PATH', or with an editor"
    files = [str(user_file()), str(site_file())]
    answer(
        args, {"files": files, "entries": rows, "damaged": damages, "cache": cache.plain()}, "\n".join(lines) or none
    )
    return 0


def _add(args: argparse.Namespace) -> int:
    from engine.data import catalogue

    if not args.name or not args.path:
        raise RequestError("catalog add needs a name and a path", hint="expected catalog add NAME PATH")
    source = {"path": args.path, "variable": args.variable, "units": args.units}
    select = load_yaml(f"{{{args.select}}}", "--select") if args.select else {}
    given = Source.parse({**source, "select": select}, args.name).within(Path.cwd())
    entry = catalogue.Entry.of(args.name, given, role=args.role, title=args.title, licence=args.licence)
    path = catalogue.add(entry)
    text = f"added {entry.name} ({entry.role}: {entry.text}) to {path}"
    answer(args, {"name": entry.name, **entry.plain(), "file": str(path)}, text)
    return 0


def _check(args: argparse.Namespace) -> int:
    """Open each data set, or one; the exit code is 1 if something is wrong."""
    from engine.data.catalogue import Catalogue

    found = Catalogue.read()
    entries = [found.named(args.name)] if args.name else found.entries
    damages = [] if args.name else found.damages
    results = [(entry.name, entry.faults()) for entry in entries]
    results += [(one.name or str(one.file), [one.message]) for one in damages]
    if not results:
        raise RequestError("the catalogue is empty", action="add data sets with 'catalog add NAME PATH'")
    lines = [f"✗ {name}: {'; '.join(faults)}" if faults else f"✓ {name}" for name, faults in results]
    answer(args, {"entries": [{"name": name, "faults": faults} for name, faults in results]}, "\n".join(lines))
    return int(any(faults for _, faults in results))


def _cache(args: argparse.Namespace) -> int:
    """Say where remote data are cached, and how much; with --empty after removing them."""
    from engine.data import disk_cache

    if args.empty:
        try:
            disk_cache.empty()
        except OSError as error:
            problem = f"the cache in {disk_cache.folder()} can't be emptied ({error.strerror or error})"
            raise RequestError(problem, action="remove the folder") from error
    state = disk_cache.state()
    answer(args, state.plain(), str(state))
    return 0
