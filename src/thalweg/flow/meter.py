"""The work of a solve, counted against its budget, and what watchers get to see of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from thalweg.flow.method import Progress, Request

T = TypeVar("T")
PATIENCE = 0.2  # seconds between two reports to the watcher


class Stop(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The watcher asked the flow to stop."""


class OutOfBudget(Exception):  # noqa: N818 - not an error: a status of the result
    """The budget of gradient evaluations, or of time, is spent."""


@dataclass
class Account:
    """The work of one of the tasks of a solve."""

    meter: "Meter"
    spent: float = 0.0

    def spend(self, work: float) -> None:
        """Count `work`, in units of one gradient.

        Raises
        ------
        OutOfBudget
            The budget is spent.
        Stop
            The watcher asked for it.
        """
        self.spent += float(work)
        self.meter.check()

    def note(self, time: float, loss: float) -> None:
        """Note where a flow stands."""
        self.meter.latest = (time, loss)


@dataclass
class Meter:
    """Counts gradient evaluations: its own, and those of the tasks of a solve.

    `expected` is a rough forecast of the total, for progress displays only; `standing` returns what
    the flow can go on from, for the watcher.
    """

    request: Request
    expected: float
    own: float = 0.0
    standing: Callable[[], Any] | None = None
    latest: tuple[float, float] = (0.0, float("nan"))
    _accounts: list[Account] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _reported: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """All work so far."""
        return self.own + sum(account.spent for account in self._accounts)

    def spend(self, work: float) -> None:
        """Count `work` that is done by itself, in units of one gradient.

        Raises
        ------
        OutOfBudget, Stop
            As for `Account.spend`.
        """
        self.own += float(work)
        self.check()

    def check(self) -> None:
        """Report to the watcher if it is time to; raise what ends the solve, if anything does."""
        if time.monotonic() - self._reported > PATIENCE:
            self._report()
        if self.spent >= self.request.max_gradient_evaluations:
            raise OutOfBudget
        if time.monotonic() - self._began > self.request.max_seconds:
            raise OutOfBudget

    def open(self, count: int) -> list[Account]:
        """Return accounts for so many tasks."""
        accounts = [Account(self) for _ in range(count)]
        self._accounts += accounts
        return accounts

    def by_turns(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run tasks one after the other; report to the watcher after each.

        In the thread of the caller: what a loss is may depend on settings that hold for one thread
        only (a `with jax....:` block, a context variable, any thread-local value).

        Raises
        ------
        OutOfBudget, Stop
            As for `Account.spend`.
        """
        results = []
        for task in tasks:
            results.append(task())
            self._report()
        return results

    def _report(self) -> None:
        if self.request.report is None:
            return
        spent = self.spent
        fraction = spent / (spent + max(self.expected - spent, 0.1 * spent, 1))
        stop = self.request.report(Progress(*self.latest, spent, fraction, self.standing))
        self._reported = time.monotonic()
        if stop:
            raise Stop
