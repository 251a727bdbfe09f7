"""Ctrl-C and SIGTERM: the first one asks to stop where it is safe, the second one stops at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first of these signals in a `with` block, in place of dying of it.

    From then on both have their default action again, so that a second one ends the process at
    once: files are replaced as a whole or not at all, so the last checkpoint stays.

    Attributes
    ----------
    signal
        The number of the signal that came; `None` while there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Elsewhere Python allows no handlers; a signal then is a KeyboardInterrupt as usual.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells report it; 0 where there was none."""
        return 128 + self.signal if self.signal is not None else 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Not print, which a signal may have interrupted.
        os.write(2, b"\nthalweg: stopping; what there is will be saved (again: stop at once)\n")
