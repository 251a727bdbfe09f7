"""The work of a solve, counted against its budget, and what watchers get to see of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from thalweg.flow.method import FlowProgress, Request

REPORT_INTERVAL = 0.2  # seconds between two reports to the watcher
MIN_WORK = 10.0  # gradients, that may always be begun


class Stop(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The watcher asked the flow to stop."""


class OutOfBudget(Exception):  # noqa: N818 - not an error: a status of the result
    """The budget of gradient evaluations, or of time, is spent."""


@dataclass
class TaskWork:
    """The work of one of the tasks of a solve."""

    budget: "WorkBudget"
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
        self.budget.check()

    @property
    def left(self) -> float:
        """The work that may still be begun (`WorkBudget.left`)."""
        return self.budget.left

    @property
    def most(self) -> float:
        """The budget of the whole solve, in units of one gradient."""
        return self.budget.request.max_gradient_evaluations

    def record(self, time: float, loss: float) -> None:
        """Record how far a flow has come."""
        self.budget.record(time, loss)


@dataclass
class WorkBudget:
    """Counts gradient evaluations: its own, and those of the tasks of a solve.

    `expected` is a rough forecast of the total, for progress displays only; `state` returns what
    the flow can go on from, for the watcher.
    """

    request: Request
    expected: float
    own: float = 0.0
    state: Callable[[], Any] | None = None
    latest: tuple[float, float] = (0.0, float("nan"))
    _tasks: list[TaskWork] = field(default_factory=list)
    _reported: float = field(default_factory=time.monotonic)
    _first: tuple[float, float] | None = None  # when the first step had been taken, and its work

    @property
    def spent(self) -> float:
        """All work so far."""
        return self.own + sum(task.spent for task in self._tasks)

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
        return max(work, MIN_WORK)

    def record(self, time_of_flow: float, loss: float) -> None:
        """Record how far a flow has come."""
        self.latest = (time_of_flow, loss)
        if self._first is None:  # compiling took most of the time so far
            self._first = time.monotonic(), self.spent - MIN_WORK

    def spend(self, work: float) -> None:
        """Count `work` that is done by itself, in units of one gradient.

        Raises
        ------
        OutOfBudget, Stop
            As for `TaskWork.spend`.
        """
        self.own += float(work)
        if work:
            self.check()

    def check(self) -> None:
        """Report to the watcher if it is time to; raise what ends the solve, if anything does."""
        if time.monotonic() - self._reported > REPORT_INTERVAL:
            self.report()
        if self.spent >= self.request.max_gradient_evaluations:
            raise OutOfBudget
        if time.monotonic() - self.request.began > self.request.max_seconds:
            raise OutOfBudget

    def add_task(self) -> TaskWork:
        """Return the work of a new task."""
        self._tasks.append(TaskWork(self))
        return self._tasks[-1]

    def report(self) -> None:
        """Report to the watcher; raise `Stop` if it asks for that."""
        if self.request.report is None:
            return
        spent = self.spent
        fraction = spent / (spent + max(self.expected - spent, 0.1 * spent, 1))
        stop = self.request.report(FlowProgress(*self.latest, spent, fraction, self.state))
        self._reported = time.monotonic()
        if stop:
            raise Stop
