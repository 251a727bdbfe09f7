"""The work of a solve, counted against its budget, and what watchers get to see of it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax

from thalweg.flow.method import Progress, Request

T = TypeVar("T")
PATIENCE = 0.2  # seconds between two reports to the watcher


class Stop(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The watcher asked the flow to stop."""


class OutOfBudget(Exception):  # noqa: N818 - not an error: a status of the result
    """The budget of gradient evaluations is spent."""


@dataclass
class Meter:
    """Counts gradient evaluations (`spent`), for several threads at once.

    `expected` is a rough forecast of the total, for progress displays only.
    """

    request: Request
    expected: float
    spent: float = 0.0
    _latest: tuple[float, float] = (0.0, float("nan"))
    _cancelled: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, work: float) -> None:
        """Count `work`, in units of one gradient.

        Raises
        ------
        OutOfBudget
            The budget is spent.
        Stop
            The solve was cancelled.
        """
        with self._lock:
            self.spent += float(work)
        if self._cancelled:
            raise Stop
        if self.spent >= self.request.max_gradient_evaluations:
            raise OutOfBudget

    def note(self, time: float, loss: float) -> None:
        """Note where a flow stands."""
        self._latest = (time, loss)

    def side_by_side(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run the tasks in threads of their own, and report to the watcher in the caller's.

        Raises
        ------
        Stop, OutOfBudget
            As the tasks do; the others are cancelled. So they are by Ctrl-C.
        """
        settings: Any = jax.config
        x64, promotion = settings.jax_enable_x64, settings.jax_numpy_dtype_promotion

        def with_settings(task: Callable[[], T]) -> T:
            # Settings made in a `with` block hold for one thread only.
            with jax.enable_x64(x64), jax.numpy_dtype_promotion(promotion):
                return task()

        with ThreadPoolExecutor(len(tasks)) as pool:
            futures = [pool.submit(with_settings, task) for task in tasks]
            try:
                pending = set(futures)
                while pending:
                    done, pending = wait(pending, PATIENCE, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    self._report()
            except BaseException:
                self._cancelled = True
                raise
        return [future.result() for future in futures]

    def _report(self) -> None:
        if self.request.report is None:
            return
        fraction = self.spent / (self.spent + max(self.expected - self.spent, 0.1 * self.spent, 1))
        if self.request.report(Progress(*self._latest, self.spent, fraction)):
            raise Stop
