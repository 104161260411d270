"""The tree of errors. Each message says what was given, what is expected, and how to mend it.

MesoscopeError
├── RequestError            the request is wrong: nothing was begun, exit code 2
│   ├── SpecError           an option: unknown, of the wrong type, out of bounds, at odds with another
│   ├── DataError           a file, or what is in it
│   │   ├── GridError       coordinates, regions, sides that don't fit the scale
│   │   ├── TimeError       calendars, periods, splits, steps without a partner
│   │   └── UnitError       units that can't be converted
│   ├── StoreError          the store of runs: not writable, full, no such run
│   └── SiteError         a place to run: unknown, or not able to
└── RunError                the run began and failed, exit code 1
    ├── LaunchError         no process could be started
    ├── RanksLostError      other ranks are gone: those that are left may go on
    ├── UnreachableError    a target can't be asked just now: what is there isn't known
    ├── CheckpointError     a checkpoint that doesn't fit, or is damaged
    └── DivergedError       the loss is no longer a number
"""


class MesoscopeError(Exception):
    """Any error this project raises on purpose."""


class RequestError(MesoscopeError):
    """The request is wrong; nothing was begun."""


class SpecError(RequestError):
    """An option is unknown, of the wrong type, out of bounds, or at odds with another."""


class DataError(RequestError):
    """A file can't be used, or what is in it can't."""


class GridError(DataError):
    """Coordinates, regions or sides that don't fit."""


class TimeError(DataError):
    """Calendars, periods, splits, or time steps without a partner."""


class UnitError(DataError):
    """Units that can't be converted into each other."""


class StoreError(RequestError):
    """The store of runs can't be used, or has no such run."""


class SiteError(RequestError):
    """A place to run is unknown, or not able to."""


class RunError(MesoscopeError):
    """The run began and failed."""


class LaunchError(RunError):
    """No process could be started."""


class RanksLostError(RunError):
    """Other ranks are gone."""


class UnreachableError(RunError):
    """A target can't be asked just now; what happens there isn't known."""


class CheckpointError(RunError):
    """A checkpoint is damaged, or doesn't fit the network."""


class DivergedError(RunError):
    """The loss is no longer a number."""
