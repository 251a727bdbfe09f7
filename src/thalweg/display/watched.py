"""Progress as it goes: one line, drawn again and again, or, where nobody watches, lines for a log.

A thread of its own shows what is being done also while nothing reports, as while a program is
compiled. It sleeps most of the time.
"""

import re
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from thalweg.basics.activity import activities, working_time

if TYPE_CHECKING:  # slow to import
    from thalweg.descent import Progress
    from thalweg.flow import Progress as FlowProgress

REDRAWN = 0.2
"""Seconds after which the line is drawn again."""

PATIENCE = 0.7
"""Seconds after which what has only just begun is worth a line of a log."""

LONGEST_SILENCE = 25.0
"""Seconds after which a log has another line in any case."""

_WIDTH = 12  # characters, of the bar
_STAMPED = re.compile(r"thalweg: \d\d:\d\d:\d\d ")  # how a line of a log begins


def progress(name: str = "") -> "Display":
    """Return a display, to be given as `report=`: what is being done, how far, seconds left.

    In a terminal or a notebook it is one line on stderr, drawn again and again, and gone at the
    end. Elsewhere it is a line with the time of day whenever something else is done, at every tenth
    of a run, and at least every 30 seconds. It shows what is being done from the first second on,
    also while programs are compiled; seconds count from the call, and those left are forecast from
    the time that was not spent on compiling.

    Parameters
    ----------
    name
        What lines begin with, to tell several runs of one log apart.

    Examples
    --------
    >>> import jax.numpy as jnp, thalweg as tw
    >>> loss, w = tw.ScalarNetwork(depth=2), jnp.array([1.0, 1.0])
    >>> tw.gradient_flow_solution(loss, w, report=tw.progress()).status
    <Status.CONVERGED: 0>
    """
    return Display(name)


def display_of(folder: Path) -> "Display":
    """Return the display of a command that works in a folder, after which lines are named."""
    return Display(folder.absolute().name)


class Display:
    """A `report` callback that shows what is being done, as long as its `with` block lasts.

    What takes such a callback (`gradient_flow_solution`, `descend`, `thalweg.experiments.run`)
    enters it. It stops nothing: its value is `None`.
    """

    def __init__(self, name: str = "", *, drawn: bool | None = None):
        self.name = name
        self._drawn = _is_watched() if drawn is None else drawn
        self._depth, self._lock, self._over = 0, threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._reported: Progress | FlowProgress | None = None
        self._began = self._said_at = self._reported_at = time.monotonic()
        self._worked = working_time()
        self._said: Any = None
        self._relayed = ""

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._began = self._said_at = time.monotonic()
            self._worked, self._reported, self._said = working_time(), None, None
            self._relayed = ""
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._thread is not None:
            self._over.set()
            self._thread.join()
            with self._lock:
                self._erase()

    def __call__(self, *told: Any) -> None:
        """Take note of where a descent, or a flow, stands, or one of several, after its number."""
        progress = told[-1]
        with self._lock:
            self._reported, self._reported_at = progress, time.monotonic()
            if not self._drawn and (tenth := _tenth(progress)) not in (None, self._said):
                self._said = tenth
                self._print(self._line())

    def say(self, line: str, stream: Any = None) -> None:
        """Print a line that stays: on stderr as one of ours, or on a stream as it is."""
        with self._lock:
            self._erase()
            print(line if stream else f"thalweg: {line}", file=stream or sys.stderr, flush=True)

    def relay(self, line: str) -> None:
        """Show a line that the display of another process has printed: here it draws none."""
        with self._lock:
            if self._drawn and (stamped := _STAMPED.match(line)):
                self._relayed = line[stamped.end() :]
            else:
                self.say(line, sys.stderr)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.say(f"warning: {message}")

    def _watch(self) -> None:
        over = False
        while not over:
            with self._lock, suppress(OSError, ValueError):  # the stream may be closed
                if self._drawn:
                    columns = shutil.get_terminal_size().columns - 1
                    print(f"\r\x1b[K{self._line()[:columns]}", end="", file=sys.stderr, flush=True)
                elif self._is_due():
                    self._print(self._line())
            over = self._over.wait(REDRAWN)

    def _is_due(self) -> bool:
        """Whether the log is to have a line, though nothing was reported."""
        now, doing = time.monotonic(), activities()
        if now - self._said_at >= LONGEST_SILENCE:
            return True
        whole = doing[0].what if doing else "starting"
        began = doing[0].began if doing and self._said else self._began
        if self._reported is not None or whole == self._said or now - began < PATIENCE:
            return False
        self._said = whole
        return True

    def _print(self, line: str) -> None:
        self._said_at = time.monotonic()
        print(f"thalweg: {time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)

    def _erase(self) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        """Return the time that it has taken and will take, how far it is, what is being done."""
        now, reported = time.monotonic(), self._reported
        left, parts = None, []
        if reported is not None:
            left = _seconds_left(reported, working_time() - self._worked)
            parts.append(str(reported))
        elif self._relayed:
            parts.append(self._relayed)
        new = [one for one in activities() if reported is None or one.began >= self._reported_at]
        if new:
            since = "" if reported is None else f", {now - new[-1].began:.0f} s"
            parts.append(": ".join(one.what for one in new[-2:]) + since)
        elapsed = now - self._began
        named = f"{self.name}, " if self.name else ""
        told = f"{elapsed:.0f} s" + (f", about {_told(left)} left" if left and left >= 0.5 else "")
        return f"{named}{self._bar(elapsed, left)}{told}: {', '.join(parts) or 'starting'}"

    def _bar(self, elapsed: float, left: float | None) -> str:
        if not self._drawn or left is None:
            return ""
        done = round(_WIDTH * elapsed / max(elapsed + left, 1e-9))
        return f"[{'#' * done}{'.' * (_WIDTH - done)}] "


def _is_watched() -> bool:
    """Whether stderr is a terminal, or a notebook, which draws a line again as well."""
    stream = sys.stderr
    return stream is not None and (
        stream.isatty() or type(stream).__module__.startswith("ipykernel")
    )


def _tenth(progress: Any) -> tuple[int, int] | None:
    """Return which tenth of which run has been done; `None` within a flow."""
    if getattr(progress, "flow", progress) is not None:
        return None
    return progress.run, 10 * progress.step // max(progress.steps, 1)


def _seconds_left(progress: Any, worked: float) -> float | None:
    """Return about how many seconds it will take; `None` where that cannot be told yet."""
    if hasattr(progress, "seconds_left"):
        left: float | None = progress.seconds_left
        return left
    fraction = progress.fraction  # of a flow
    return worked * (1 - fraction) / fraction if fraction > 0 else None


def _told(seconds: float) -> str:
    """Return a time in few letters.

    >>> _told(75.0), _told(6000.0), _told(8000.0)
    ('75 s', '100 min', '2.2 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
