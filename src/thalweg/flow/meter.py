"""The work of a solve, counted against its budget, and what watchers get to see of it."""

import threading
import time
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
    """The budget of gradient evaluations, or of time, is spent."""


@dataclass
class Account:
    """The work of one of several tasks that run side by side.

    They share what is left of the budget equally, and what one leaves over another may use: so
    where the budget ends a task does not depend on how fast the others happen to run.
    """

    group: "_Group"
    spent: float = 0.0
    is_waiting: bool = False
    is_closed: bool = False

    def spend(self, work: float) -> None:
        """Count `work`, in units of one gradient.

        Raises
        ------
        OutOfBudget
            The budget is spent.
        Stop
            The solve was cancelled.
        """
        self.spent += float(work)
        self.group.check(self)

    def note(self, time: float, loss: float) -> None:
        """Note where a flow stands."""
        self.group.latest = (time, loss)

    def close(self) -> None:
        """Leave what has not been spent to the others."""
        with self.group.changed:
            self.is_closed = True
            self.group.changed.notify_all()


@dataclass
class _Group:
    """The accounts of tasks that run side by side, and what they may spend together."""

    room: float
    accounts: list[Account] = field(default_factory=list)
    latest: tuple[float, float] = (0.0, float("nan"))
    is_cancelled: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def check(self, account: Account) -> None:
        others = [one for one in self.accounts if one is not account]
        with self.changed:
            if account.spent >= self.room / len(self.accounts):
                # More than its share: what the others leave is known when they are at their ends.
                account.is_waiting = True
                self.changed.notify_all()
                while not self.is_cancelled and not all(
                    o.is_waiting or o.is_closed for o in others
                ):
                    self.changed.wait()
            if self.is_cancelled:
                raise Stop
            if account.is_waiting:
                spent = sum(one.spent for one in self.accounts)
                if not all(one.is_closed for one in others) or spent >= self.room:
                    raise OutOfBudget

    def cancel(self) -> None:
        with self.changed:
            self.is_cancelled = True
            self.changed.notify_all()


@dataclass
class Meter:
    """Counts gradient evaluations: its own, and those of tasks that run side by side.

    `expected` is a rough forecast of the total, for progress displays only; `standing` returns what
    the flow can go on from, for the watcher.
    """

    request: Request
    expected: float
    own: float = 0.0
    standing: Callable[[], Any] | None = None
    _groups: list[_Group] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """All work so far, added up in an order that does not depend on time."""
        return self.own + sum(one.spent for group in self._groups for one in group.accounts)

    def spend(self, work: float) -> None:
        """Count `work` that is done by itself, in units of one gradient.

        Raises
        ------
        OutOfBudget
            The budget is spent.
        """
        self.own += float(work)
        if self.spent >= self.request.max_gradient_evaluations:
            raise OutOfBudget

    def open(self, count: int) -> list[Account]:
        """Return accounts for tasks that are to run side by side."""
        group = _Group(self.request.max_gradient_evaluations - self.spent)
        group.accounts = [Account(group) for _ in range(count)]
        self._groups.append(group)
        return list(group.accounts)

    def side_by_side(
        self, tasks: Sequence[Callable[[], T]], accounts: Sequence[Account]
    ) -> list[T]:
        """Run tasks, with an account for each, in threads; report to the watcher in the caller's.

        Raises
        ------
        Stop, OutOfBudget
            As the tasks do; the others are cancelled. So they are by Ctrl-C.
        """
        settings: Any = jax.config
        x64, dtypes = settings.jax_enable_x64, settings.jax_numpy_dtype_promotion
        ranks = settings.jax_numpy_rank_promotion

        def with_settings(task: Callable[[], T], account: Account) -> T:
            # Settings made in a `with` block hold for one thread only.
            numpy_settings = jax.numpy_dtype_promotion(dtypes), jax.numpy_rank_promotion(ranks)
            with jax.enable_x64(x64), numpy_settings[0], numpy_settings[1]:
                try:
                    return task()
                finally:
                    account.close()

        with ThreadPoolExecutor(max(len(tasks), 1)) as pool:
            futures = [
                pool.submit(with_settings, *pair) for pair in zip(tasks, accounts, strict=True)
            ]
            try:
                pending = set(futures)
                while pending:
                    done, pending = wait(pending, PATIENCE, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    self._report()
                    if time.monotonic() - self._began > self.request.max_seconds:
                        raise OutOfBudget
            except BaseException:
                self._groups[-1].cancel()
                raise
        return [future.result() for future in futures]

    def _report(self) -> None:
        if self.request.report is None:
            return
        spent, latest = self.spent, self._groups[-1].latest
        fraction = spent / (spent + max(self.expected - spent, 0.1 * spent, 1))
        if self.request.report(Progress(*latest, spent, fraction, self.standing)):
            raise Stop
