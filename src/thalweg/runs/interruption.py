"""Signals that ask a process to end: it stops where it is safe, and saves; who insists is obeyed.

They come from people (Ctrl-C, a terminal that is closed), from `kill` and `timeout`, and from
schedulers, before the time of a job is up.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

_INSISTENT = (signal.SIGINT, signal.SIGTERM)
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""All that are noted."""

TOGETHER = 1.0
"""Seconds within which two are one: `timeout` and Slurm send theirs to a process and its group."""


class Interruption:
    """Notes the first of `SIGNALS` in a `with` block, in place of dying of it.

    A second Ctrl-C or SIGTERM, `TOGETHER` after the first of them, ends the process at once: files
    are replaced as a whole or not at all, so the last checkpoint stays. The others come early and
    often, and never do; where the process was told to ignore them (as by `nohup`), it does.
    """

    def __init__(self) -> None:
        self.signal: int | None = None  # the number of the one that came
        self._asked: float | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Elsewhere Python allows no handlers; a signal then is a KeyboardInterrupt as usual.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number in _INSISTENT or signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells report it; 0 where there was none."""
        return 128 + self.signal if self.signal is not None else 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            # Not print, which a signal may have interrupted. There may be no terminal any more.
            with suppress(OSError):
                os.write(2, b"\nthalweg: stopping; what there is will be saved (again: at once)\n")
        if number not in _INSISTENT:
            return
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        elif now - self._asked >= TOGETHER:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Make several SIGINT within `TOGETHER` one `KeyboardInterrupt`, in a `with` block.

    So the second does not interrupt what the first has set going.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's; or not ours to set
        yield
        return
    last = -TOGETHER

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= TOGETHER:
            last = now
            raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
