"""The work of a solve, counted against its budget, and the reports to whoever watches."""

from dataclasses import dataclass

from thalweg.flow.method import Progress, Request


class Stop(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The watcher asked the flow to stop."""


class OutOfBudget(Exception):  # noqa: N818 - not an error: a status of the result
    """The budget of gradient evaluations is spent."""


@dataclass
class Meter:
    """Counts gradient evaluations (`spent`); `expected` is a rough forecast of the total."""

    request: Request
    expected: float
    spent: float = 0.0

    @property
    def left(self) -> float:
        """What is left of the budget."""
        return self.request.max_gradient_evaluations - self.spent

    def spend(self, work: float) -> None:
        """Count `work`, in units of one gradient.

        Raises
        ------
        OutOfBudget
            The budget is spent.
        """
        self.spent += float(work)
        if self.left <= 0:
            raise OutOfBudget

    def report(self, time: float, loss: float) -> None:
        """Tell the watcher where the flow stands.

        Raises
        ------
        Stop
            The watcher asked for it.
        """
        if self.request.report is None:
            return
        fraction = self.spent / (self.spent + max(self.expected - self.spent, 0.1 * self.spent, 1))
        if self.request.report(Progress(time, loss, self.spent, fraction)):
            raise Stop
