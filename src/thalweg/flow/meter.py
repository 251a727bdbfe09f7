"""The work of a solve, counted against its budget, and what watchers get to see of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from thalweg.flow.method import Progress, Request

T = TypeVar("T")
PATIENCE = 0.2  # seconds between two reports to the watcher
LEAST = 10.0  # gradients, that may always be begun


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

    @property
    def left(self) -> float:
        """The work that may still be begun (`Meter.left`)."""
        return self.meter.left

    def note(self, time: float, loss: float) -> None:
        """Note where a flow stands."""
        self.meter.note(time, loss)


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
    _reported: float = field(default_factory=time.monotonic)
    _first: tuple[float, float] | None = None  # when the first step had been taken, and its work

    @property
    def spent(self) -> float:
        """All work so far."""
        return self.own + sum(account.spent for account in self._accounts)

    @property
    def left(self) -> float:
        """The work that may still be begun: what is compiled cannot be stopped on its way.

        What is left of the budget; of a budget of time, as much as was done in such a time before.
        """
        work = self.request.max_gradient_evaluations - self.spent
        if self.request.max_seconds < inf and self._first is not None:
            now, (first, spent) = time.monotonic(), self._first
            seconds = self.request.began + self.request.max_seconds - now
            work = min(work, seconds * (self.spent - spent) / max(now - first, 1e-3))
        return max(work, LEAST)

    def note(self, time_of_flow: float, loss: float) -> None:
        """Note where a flow stands."""
        self.latest = (time_of_flow, loss)
        if self._first is None:  # compiling took most of the time so far
            self._first = time.monotonic(), self.spent - LEAST

    def spend(self, work: float) -> None:
        """Count `work` that is done by itself, in units of one gradient.

        Raises
        ------
        OutOfBudget, Stop
            As for `Account.spend`.
        """
        self.own += float(work)
        if work:
            self.check()

    def check(self) -> None:
        """Report to the watcher if it is time to; raise what ends the solve, if anything does."""
        if time.monotonic() - self._reported > PATIENCE:
            self._report()
        if self.spent >= self.request.max_gradient_evaluations:
            raise OutOfBudget
        if time.monotonic() - self.request.began > self.request.max_seconds:
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
