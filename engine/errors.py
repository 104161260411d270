"""The tree of errors.

MesoscopeError
├── RequestError            the request is wrong: nothing was started, exit code 2
│   ├── SpecError           an option: unknown, of the wrong type, out of bounds, in conflict with another
│   ├── DataError           a file, or its content
│   │   ├── GridError       coordinates, regions, sides that don't fit the scale
│   │   ├── TimeError       calendars, periods, splits, time steps without a partner
│   │   └── UnitError       units that can't be converted
│   ├── CatalogueError      a catalogue of data sets: no such name, not writable
│   ├── StoreError          the store of runs: not writable, full, no such run
│   │   └── RecordError     a file of a run folder holds something else than its record
│   └── SiteError           a site: unknown, or not able to run this
└── RunError                the run was started and failed, exit code 1
    ├── LaunchError         no process could be started
    ├── RanksLostError      other ranks are gone: those that are left may continue
    ├── UnreachableError    a site can't be reached now: the state of its runs isn't known
    ├── CheckpointError     a checkpoint that doesn't fit, or is damaged
    └── DivergedError       the loss is no longer a number
"""

from __future__ import annotations


class MesoscopeError(Exception):
    """Any error this project raises on purpose: the text is for people, the fields are for programs.

    Parameters
    ----------
    problem : what was given and why it can't be used.
    option : the option concerned, as 'section.name'.
    hint : what is expected, or known.
    action : what the user can do about it.

    The text is 'problem: hint; action'; `remedy` is what stands behind the colon.
    """

    def __init__(self, problem: str = "", *, option: str = "", hint: str = "", action: str = ""):
        self.problem, self.option, self.hint, self.action = problem, option, hint, action
        self.remedy = "; ".join(part for part in (hint, action) if part)
        super().__init__(f"{problem}: {self.remedy}" if self.remedy else problem)


class RequestError(MesoscopeError):
    """The request is wrong; nothing was started."""


class SpecError(RequestError):
    """An option is unknown, of the wrong type, out of bounds, or in conflict with another."""


class DataError(RequestError):
    """A file, or its content, can't be used."""


class GridError(DataError):
    """Coordinates, regions or sides that don't fit."""


class TimeError(DataError):
    """Calendars, periods, splits, or time steps without a partner."""


class UnitError(DataError):
    """Units that can't be converted into each other."""


class CatalogueError(RequestError):
    """A catalogue of data sets can't be written, or has no such name."""


class StoreError(RequestError):
    """The store of runs can't be used, or has no such run."""


class RecordError(StoreError):
    """A file of a run folder is missing, or holds something else than its record."""

    def __init__(self, problem: str):
        super().__init__(problem, action="delete the run, or restore the file from a copy")


class SiteError(RequestError):
    """A site is unknown, or not able to run this."""


class RunError(MesoscopeError):
    """The run was started and failed."""


class LaunchError(RunError):
    """No process could be started."""


class RanksLostError(RunError):
    """Loss of other ranks."""


class UnreachableError(RunError):
    """A site can't be reached now; the state of its runs isn't known."""


class CheckpointError(RunError):
    """A checkpoint is damaged, or doesn't fit the network."""


class DivergedError(RunError):
    """The loss is no longer a number."""
