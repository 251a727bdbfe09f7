"""What people see in a terminal: progress, the table at the end, and streams that may fail.

Progress is shown by bars, or by sparse lines where there is no terminal. Streams may fail, or not
be there: what they show is for people, and not the work. A terminal is closed, a disk is full,
`head` has seen enough: the program goes on without a display.
"""

import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from thalweg.runs.wording import describe_number, describe_rise

if TYPE_CHECKING:  # slow to import
    from tqdm import tqdm

    from thalweg.descent import Progress

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}{postfix}]"
_FLOW_BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"


class Bars:
    """Two bars on stderr, with the time left: steps of the run, and the flow in hand.

    Instances are `report` callbacks of `descend`, to be used in a `with` block.
    """

    def __init__(self) -> None:
        self._steps: tqdm[Any] | None = None
        self._flow: tqdm[Any] | None = None
        self._run = -1

    def __call__(self, progress: "Progress") -> None:
        """Show where the descent stands."""
        if self._steps is None or progress.run != self._run:
            self.__exit__()
            title = f"step size {progress.step_size:g}, steps"
            self._steps, self._run = _bar(title, progress.steps, _BAR), progress.run
        if (flow := progress.flow) is None:
            self._close_flow()
        else:
            if self._flow is None:
                title = f"  gradient flow from step {progress.step}"
                self._flow = _bar(title, 1.0, _FLOW_BAR, leave=False)
            said = f"loss {flow.loss:.1e}, {flow.gradient_evaluations:.0f} gradients"
            self._flow.set_postfix_str(said, refresh=False)
            self._flow.update(max(flow.fraction - self._flow.n, 0.0))
        self._steps.set_postfix_str(f"loss {progress.loss:.2e}", refresh=False)
        self._steps.update(progress.step - self._steps.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_flow()
        if self._steps is not None:
            self._steps.close()

    def _close_flow(self) -> None:
        if self._flow is not None:
            self._flow.close()
            self._flow = None


def _bar(title: str, total: float, form: str, *, leave: bool = True) -> "tqdm[Any]":
    """Return a bar; the time left follows from the average, since measurements come in bursts."""
    from tqdm import tqdm

    options = {"desc": title, "total": total, "bar_format": form, "leave": leave}
    return tqdm(smoothing=0, file=sys.stderr, **options)


class Lines:
    """A line on stderr at every tenth of a run, for logs."""

    def __init__(self) -> None:
        self._last = (-1, -1)
        self._began = time.perf_counter()

    def __call__(self, progress: "Progress") -> None:
        """Print a line if another tenth of the steps is done."""
        tenth = (progress.run, 10 * progress.step // max(progress.steps, 1))
        if progress.flow is not None or tenth == self._last:
            return
        if tenth[0] != self._last[0]:
            self._began = time.perf_counter()
        self._last = tenth
        seconds = time.perf_counter() - self._began
        left = seconds * (progress.steps - progress.step) / progress.step if progress.step else None
        print(
            f"thalweg: step size {progress.step_size:g}, step {progress.step} of {progress.steps}, "
            f"loss {progress.loss:.3g}, {seconds:.0f} s"
            + (f", about {left:.0f} s left" if left is not None and left > 0 else ""),
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def progress_display() -> Bars | Lines:
    """Return bars where stderr is a terminal, lines where it is not."""
    return Bars() if sys.stderr.isatty() else Lines()


def table(summary: dict[str, Any]) -> str:
    """Return the few lines that are printed at the end."""
    other = _other_than_gfs(summary["runs"][0])
    limit = "GFS sharpness" if other is None else f"{other} sharpness"
    head = ("step size", "2/η", "steps", "status", "loss", "sharpness", limit, "verdict")
    rows = [head, *(_row(run) for run in summary["runs"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    rises = [(run, describe_rise(_of_limit(run)["monotonicity"])) for run in summary["runs"]]
    described = [f"step size {run['step_size']:g}, {limit}: {rise}" for run, rise in rises if rise]
    advice = [
        f"step size {run['step_size']:g}: {a}" for run in summary["runs"] for a in run["advice"]
    ]
    work = (
        f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,.0f} gradient evaluations"
    )
    certificates = [
        f"\nCertificate, step size {run['step_size']:g}:\n{run['certificate']['text']}"
        for run in summary["runs"]
        if "certificate" in run
    ]
    return "\n".join(line.rstrip() for line in (*lines, *described, *advice, work, *certificates))


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
