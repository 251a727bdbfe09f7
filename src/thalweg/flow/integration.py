"""One of the integrations that an answer is made of: the flow at one tolerance, and its limit."""

from dataclasses import dataclass
from math import inf

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integrator_state import IntegratorState
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.solution import Status

CAREFUL = 0.8  # of the error that a limit may have: that of the estimate where it is sought


@dataclass(frozen=True)
class ToleranceState:
    """How far the flow has been integrated at one tolerance.

    `state` is that before the last step; `limit` is the end, `None` where it was not reached.
    `spent` is all work for it.
    """

    spent: float
    state: IntegratorState | None
    limit: Limit | None


@dataclass
class Integration:
    """The flow at one tolerance, and its limit once that is known, with the work until then."""

    integrator: FlowIntegrator
    tolerance: float
    limit: Limit | None = None
    spent: float = 0.0

    @property
    def latest(self) -> Limit | None:
        """The limit, or else the last estimate of it."""
        return self.limit if self.limit is not None else self.integrator.estimated_limit()

    @property
    def has_failed(self) -> bool:
        """Whether the flow has ended, and not at a stationary point."""
        return self.limit is not None and self.limit.status not in (None, Status.SADDLE)

    def go_on(self, agreeing: float, room: float = inf) -> bool:
        """Go on to the next estimate of the limit, or settle there if the last ones agree.

        To a part of `rtol`; a limit whose error takes more of it than there is `room` for is none.
        Return whether there was no limit at all where estimates had agreed.
        """
        integrator, has_no_limit = self.integrator, False
        if integrator.agrees(min(agreeing, CAREFUL * room)):
            limit = integrator.settle()
            has_no_limit = limit is None
            if limit is not None and _fits(limit, room, integrator.rtol):
                self.limit = limit
        else:
            self.limit = integrator.integrate(self.tolerance)
        self.spent = integrator.budget.spent
        return has_no_limit

    def restore(self, known: ToleranceState) -> None:
        """Go on from where another one stood."""
        if known.state is not None:
            self.integrator.restore(known.state)
        if known.limit is not None:
            self.limit, self.spent = known.limit, known.spent
            self.integrator.budget.spent = known.spent

    def standing(self) -> ToleranceState:
        """Return what `restore` takes; may be called at any time."""
        state = self.integrator.snapshot()
        if self.limit is not None:
            return ToleranceState(self.spent, state, self.limit)
        return ToleranceState(state.spent if state is not None else 0.0, state, None)


def _fits(limit: Limit, room: float, rtol: float) -> bool:
    return room == inf or limit.error <= room * rtol * abs(limit.sharpness)
