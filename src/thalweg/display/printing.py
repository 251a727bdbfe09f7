"""What is printed: the table at the end, to streams that may fail.

Streams may fail, or not be there: what they show is for people, and not the work. A terminal is
closed, a disk is full, `head` has seen enough: the program goes on without a display.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from thalweg.runs.wording import aligned, describe_number, describe_rise, run_name


def table(summary: dict[str, Any]) -> str:
    """Return the few lines that are printed at the end."""
    runs = summary["runs"]
    other = _other_than_gfs(runs[0])
    starts = [kind for kind in ("seed", "start") if kind in runs[0]]
    limit = "GFS sharpness" if other is None else f"{other} sharpness"
    head = ("step size", "2/η", "steps", "status", "loss", "sharpness", limit, "verdict")
    rows = ([*(str(run[kind]) for kind in starts), *_row(run)] for run in runs)
    lines = aligned([[*starts, *head], *rows])
    rises = [(run, describe_rise(_of_limit(run)["monotonicity"])) for run in runs]
    described = [f"{run_name(run)}, {limit}: {rise}" for run, rise in rises if rise]
    advice = [f"{run_name(run)}: {a}" for run in runs for a in run["advice"]]
    work = (
        f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,.0f} gradient evaluations"
    )
    certificates = [
        f"\nCertificate, {run_name(run)}:\n{run['certificate']['text']}"
        for run in runs
        if "certificate" in run
    ]
    return "\n".join([*lines, *described, *advice, work, *certificates])


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    final, limit = run["final"], _of_limit(run)
    value, error, steps = limit["sharpness"], limit["sharpness_error"], limit["monotonicity"]
    return (
        f"{run['step_size']:g}",
        describe_number(run["threshold"], ".5g"),
        str(run["steps"]),
        run["status"],
        describe_number(final["loss"], ".3g"),
        describe_number(final["sharpness"], ".5g"),
        f"{describe_number(value, '.6g')} ± {describe_number(error, '.1g')}",
        f"{steps['verdict']} ({steps['falls']} falls, {steps['rises']} rises, "
        f"{steps['undecided']} undecided)",
    )


def _of_limit(run: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of another measurement of flows, where there is one, else of the GFS."""
    if (other := _other_than_gfs(run)) is not None:
        known: dict[str, Any] = run[other]
        return known
    final = run["final"]
    return {
        "sharpness": final["gfs_sharpness"],
        "sharpness_error": final["gfs_sharpness_error"],
        "monotonicity": run["monotonicity"],
    }


def _other_than_gfs(run: dict[str, Any]) -> str | None:
    """Return the measurement of flows, such as "truncated", that a run has an entry of."""
    entries = (name for name, one in run.items() if isinstance(one, dict))
    return next((name for name in entries if "sharpness_error" in run[name]), None)


_NO_DISPLAY = (OSError, ValueError)
"""What streams raise: the second one where they are closed."""


class Lenient:
    """A text stream to write to, without errors: from the first failure on nothing is written."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.failure: OSError | ValueError | None = None  # what was raised
        if isinstance(stream, io.TextIOWrapper):
            # Names of files need not be text, nor do terminals know η.
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, where that is possible."""
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Have written what was kept back, where that is possible."""
        self._attempt(self._stream.flush)

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

    def _attempt(self, action: Callable[..., Any], *arguments: str) -> None:
        if self.failure is not None:
            return
        try:
            action(*arguments)
        except _NO_DISPLAY as failure:
            self.failure = failure
            self._give_up()

    def _give_up(self) -> None:
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
