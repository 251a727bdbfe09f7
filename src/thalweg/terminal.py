"""Standard streams that may fail, or not be there: what they show is for people, and not the work.

A terminal is closed, a disk is full, `head` has seen enough: the program goes on without a display.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_NO_DISPLAY = (OSError, ValueError)
"""What streams raise: the second one where they are closed."""


class Lenient:
    """A text stream to write to, without errors: from the first failure on nothing is written.

    Attributes
    ----------
    failure
        What was raised; `None` while all is well.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self.failure: OSError | ValueError | None = None
        if isinstance(stream, io.TextIOWrapper):
            # Names of files need not be text, nor do terminals know η.
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, where that is possible."""
        if self.failure is None:
            try:
                self._stream.write(text)
            except _NO_DISPLAY as failure:
                self._give_up(failure)
        return len(text)

    def flush(self) -> None:
        """Have written what was kept back, where that is possible."""
        if self.failure is None:
            try:
                self._stream.flush()
            except _NO_DISPLAY as failure:
                self._give_up(failure)

    def isatty(self) -> bool:
        """Whether somebody may be watching."""
        try:
            return self.failure is None and bool(self._stream.isatty())
        except _NO_DISPLAY:
            return False

    @property
    def has_lost_text(self) -> bool:
        """Whether something could not be written, and not because its reader wanted no more."""
        return self.failure is not None and not isinstance(self.failure, BrokenPipeError)

    def _give_up(self, failure: OSError | ValueError) -> None:
        self.failure = failure
        # What the stream still keeps is written when it is closed: at the end of the process, where
        # a failure has a traceback.
        with suppress(*_NO_DISPLAY):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self._stream.fileno())
            finally:
                os.close(nowhere)


@contextmanager
def lenient_streams() -> Iterator[Lenient]:
    """Make stdout and stderr lenient in a `with` block, which is given stdout."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # for streams that were closed before Python began
        streams = [Lenient(nowhere if stream is None else stream) for stream in before]
        sys.stdout, sys.stderr = streams
        try:
            yield streams[0]
        finally:
            for stream in streams:
                stream.flush()
            sys.stdout, sys.stderr = before


def _open_descriptors() -> None:
    """Open what is closed of the three: files get the lowest free number, and XLA writes to 2."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)
