"""What a method of solving the flow is: a record with `solve`; the caller's request to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from jaxtyping import Array

from thalweg.flow.solution import FlowSolution
from thalweg.problems import FlatProblem


@dataclass(frozen=True)
class FlowProgress:
    """How far a running flow has come: for progress displays and for stopping it early.

    Attributes
    ----------
    time, loss
        Where the flow stands: its time, and the loss there.
    gradient_evaluations
        The work of this flow so far.
    fraction
        A rough estimate, in [0, 1], of how much of the work is done.
    standing
        Returns, if called at once, what `gradient_flow_solution(..., standing=...)` takes to go on;
        `None` where the flow would start anew.
    """

    time: float
    loss: float
    gradient_evaluations: float
    fraction: float
    standing: Callable[[], Any] | None = None

    def __str__(self) -> str:
        return (
            f"gradient flow {self.fraction:.0%}, {self.gradient_evaluations:,.0f} gradients, "
            f"loss {self.loss:.1e}"
        )


@dataclass(frozen=True)
class Request:
    """What the caller of a flow asks for.

    Attributes
    ----------
    rtol
        Relative accuracy wanted of the GFS sharpness.
    max_gradient_evaluations
        Budget; when it is used up the flow ends with `Status.BUDGET_EXHAUSTED`.
    report
        Called now and then with a `Progress`; a true return value stops the flow
        (`Status.STOPPED`).
    previous
        The solution of a neighbouring iterate, to warm-start from where that helps.
    standing
        Where an earlier solve of the same request was interrupted, to go on from there.
    max_seconds
        Budget of wall-clock time; it ends a flow as `max_gradient_evaluations` does, but where
        depends on the machine.
    began
        When the clock was started, which counts what choosing a method takes, too.
    """

    rtol: float
    max_gradient_evaluations: float
    report: Callable[[FlowProgress], bool | None] | None = None
    previous: FlowSolution | None = None
    standing: Any = None
    max_seconds: float = inf
    began: float = field(default_factory=time.monotonic, compare=False)

    def __post_init__(self) -> None:
        if not self.rtol > 0:
            raise ValueError(f"rtol must be positive, got {self.rtol}; ask e.g. for 1e-4")
        if not self.max_gradient_evaluations >= 0:
            raise ValueError(
                "max_gradient_evaluations must be a number of at least 0, got "
                f"{self.max_gradient_evaluations}; leave it out for the default"
            )
        if not self.max_seconds >= 0:
            raise ValueError(
                f"max_seconds must be a number of at least 0, got {self.max_seconds}; leave it out "
                "for no limit"
            )
        if self.report is not None and not callable(self.report):
            raise TypeError(f"report must be callable, not {type(self.report).__name__}")
        if not isinstance(self.previous, FlowSolution | None):
            raise TypeError(f"previous must be a FlowSolution, not {type(self.previous).__name__}")


class Method(Protocol):
    """A way of solving the flow. `solve` works on flat vectors; `w` of its answer is flat."""

    @property
    def name(self) -> str:
        """The name that results carry."""
        ...

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow of `problem` from `w` to its limit."""
        ...
