"""The command line: everything that the dashboard does, without it.

`parser` declares the commands; `experiments`, `suite`, `runs` and `sites` carry out those for users, `processes` those
that launchers start. Exit codes: 0 done; 2 the request is wrong; 1 the run failed. With --json, standard output holds
one JSON document. A reader that goes away (`| head`) ends a command as SIGPIPE would, with 141. Heavy imports stand in
the functions that need them, so that the others answer at once.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys

from engine.cli.output import refuse
from engine.cli.parser import make_parser
from engine.errors import MesoscopeError, RequestError
from engine.runs import describe_error


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    args = argparse.Namespace(json="--json" in words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # in a terminal without Unicode, × becomes ?
    try:
        args = make_parser().parse_args(words)
        code = args.command(args) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 128 + signal.SIGPIPE
    except MesoscopeError as error:
        return refuse(args, str(error), 2 if isinstance(error, RequestError) else 1)
    except KeyboardInterrupt:
        return refuse(args, "interrupted", 130)
    except OSError as error:
        return refuse(args, describe_error(error), 1)
