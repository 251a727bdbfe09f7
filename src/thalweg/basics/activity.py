"""What is being done, for whoever waits for it: phrases, and a clock that leaves compiling out.

Displays look at it from a thread of their own, since what takes long (importing, compiling) does
not report. What has ended is logged, with its seconds, by the logger `thalweg`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("thalweg")


@dataclass(eq=False)
class Activity:
    """Something that is being done."""

    what: str
    began: float = field(default_factory=time.monotonic)


_now: list[Activity] = []
_compiled = 0.0  # seconds


def activities() -> list[Activity]:
    """Return what is being done, from the whole to the part in hand."""
    return list(_now)


@contextmanager
def doing(what: str) -> Iterator[Activity]:
    """Say what is being done in a `with` block, which may say more of it on the way.

    >>> with doing("waiting"):
    ...     [activity.what for activity in activities()]
    ['waiting']
    """
    activity = Activity(what)
    _now.append(activity)
    try:
        yield activity
    finally:
        _end(activity)


class Compiling:
    """A call that may compile a program: whoever traces it says so by `begin`."""

    def __init__(self, what: str):
        self._what = what
        self._activity: Activity | None = None

    def begin(self) -> None:
        """Say that the call in hand compiles."""
        if self._activity is None:
            self._activity = Activity(f"compiling {self._what}")
            _now.append(self._activity)

    def __enter__(self) -> None:
        """Begin a call, of which it is not known yet."""

    def __exit__(self, *_: object) -> None:
        global _compiled
        if (ended := self._activity) is not None:
            self._activity = None
            if ended is next(one for one in _now if one.what.startswith("compiling ")):
                _compiled += time.monotonic() - ended.began
            _end(ended)


def working_time() -> float:
    """Return monotonic seconds in which no program of ours was compiled: to forecast from."""
    return time.monotonic() - _compiled


def entered(report: Callable[..., Any] | None) -> AbstractContextManager[Any]:
    """Return a report that is a display, to be shown in a `with` block; nothing for others."""
    return report if isinstance(report, AbstractContextManager) else nullcontext()


def _end(activity: Activity) -> None:
    _now.remove(activity)
    log.info("%s: %.2f s", activity.what, time.monotonic() - activity.began)
