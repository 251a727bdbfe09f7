"""What is measured along a run, and when: independent of how the run is trained.

A measurement is any object with the members of `Measurement`; `Quantity` makes one from a
function. Its values become variables of the dataset on the dimensions `(run, <name>_step)`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import PyTree

from thalweg.descent.schedule import check_schedule
from thalweg.flow.method import FlowProgress
from thalweg.problems import Problem

Report = Callable[[FlowProgress], bool | None]
Attributes = Mapping[str, Any]


class Reading(NamedTuple):
    """What one measurement of one iterate gives.

    Attributes
    ----------
    values
        A number for every variable of the measurement.
    memory
        Whatever the next measurement of the same run should be given: warm starts.
    gradient_evaluations
        The work done, in units of one gradient (`thalweg.problems.COST`).
    of_previous
        Numbers of the previous reading of the same run that are known only now; they replace
        those that it gave.
    """

    values: Mapping[str, float]
    memory: Any = None
    gradient_evaluations: float = 0.0
    of_previous: Mapping[str, float] = MappingProxyType({})


class Measurement(Protocol):
    """Something to measure at some of the iterates.

    Attributes
    ----------
    name
        The dimension of its variables is called `<name>_step`.
    every, start
        Measured at the steps `start`, `start + every`, ..., and at the last step. One that has an
        attribute `at` which is not `None`, steps in any order, is measured at these in their place,
        and one with an attribute `also` at these, too.
    variables
        The names of the values and their attributes in the dataset (`long_name`, `units`).
    """

    @property
    def name(self) -> str: ...  # noqa: D102 (described above)
    @property
    def every(self) -> int: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def variables(self) -> Mapping[str, Attributes]: ...  # noqa: D102

    def measure(self, problem: Problem, w: PyTree, memory: Any, report: Report | None) -> Reading:
        """Measure at `w`.

        `memory` is that of the previous reading of the same run, `None` at first. A measurement
        that takes long calls `report` now and then, and gives up when it returns true. If it also
        has a method `resume(problem, w, memory, report, standing)`, what `standing()` of its
        progress returned is stored in checkpoints, and handed to that method after an interruption.
        A method `ahead(problem, ws, memory, lanes, report, standing)` may solve for several
        iterates at once, and returns what `resume` takes for each: `report(index, progress)` is
        told of each, `standing` has what its `standing()` returned, or `None`. Where a run is
        refined, and an iterate is measured between two others, `again(problem, memory, before,
        report)` returns a reading of what the later one, of this memory, says of it
        (`of_previous`), whose memory is `before`.
        """
        ...


@dataclass(frozen=True)
class Quantity:
    """Any number computed from the problem and the parameters.

    Parameters
    ----------
    name
        The name of the variable; its dimension is `<name>_step`.
    function
        `function(problem, w)` returns a number (or an array of one element).
    every, start, also, at
        Schedule, in steps: `start`, `start + every`, ..., those of `also`, and the last step; with
        `at` (such as `log_spaced(1000)`) its steps in place of `start`, `start + every`, ....
    long_name, units
        Attributes of the variable.
    gradient_evaluations
        The work of one call, in units of one gradient.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> norm = Quantity("norm", lambda problem, w: jnp.sqrt(jnp.vdot(w, w)), every=10)
    >>> norm.measure(None, jnp.array([3.0, 4.0]), None, None).values
    {'norm': 5.0}
    """

    name: str
    function: Callable[[Problem, Any], Any]
    every: int = 1
    start: int = 0
    long_name: str = ""
    units: str = "1"
    gradient_evaluations: float = 0.0
    also: tuple[int, ...] = ()
    at: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_schedule(self)

    @property
    def variables(self) -> dict[str, Attributes]:
        """The one variable."""
        return {self.name: described(self.long_name or self.name, self.units)}

    def measure(self, problem: Problem, w: PyTree, memory: Any, report: Report | None) -> Reading:
        """Call the function."""
        value = as_number(self.function(problem, w), f"the quantity {self.name!r}")
        return Reading({self.name: value}, None, self.gradient_evaluations)


def described(long_name: str, units: str = "1", **more: Any) -> dict[str, Any]:
    """Return the attributes of a variable of a dataset."""
    return {"long_name": long_name, "units": units, **more}


def as_number(value: Any, what: str) -> float:
    """Return a number, or the only element of an array; raise a ValueError that names `what`."""
    advice = "reduce it, e.g. with jnp.max, or measure each entry by itself"
    try:
        array = np.asarray(value)
        if array.size == 1 and isinstance(array.item(), Real):
            return float(array.item())
    except (TypeError, ValueError):  # of unequal rows, or nothing that NumPy knows
        array = np.asarray(None)
    got = f"of shape {array.shape}" if array.size != 1 else f"{value!r:.60}"
    raise ValueError(f"{what} must be one number, but is {got}: {advice}")


def as_list(measurements: Any) -> list[Measurement]:
    """Return measurements as a list, also a single one; raise for what is neither."""
    if hasattr(measurements, "measure"):
        return [measurements]
    if isinstance(measurements, str | bytes) or not isinstance(measurements, Iterable):
        raise TypeError(
            "measurements must be a list of objects such as thalweg.Sharpness(), not "
            f"{measurements!r:.60}"
        )
    return list(measurements)


def check_names(measurements: Sequence[Measurement]) -> None:
    """Raise a ValueError where two measurements, or one and the loop, use the same name."""
    taken = {"run", "step", "step_size", "threshold", "loss", "seed", "start"}
    for measurement in measurements:
        check_schedule(measurement)
        # A variable may have the name of its own measurement: the dimension is `<name>_step`.
        for name in (f"{measurement.name}_step", *measurement.variables):
            if name in taken:
                raise ValueError(
                    f"the measurement {measurement.name!r} uses the name {name!r}, which is "
                    "already taken: give each measurement a name of its own"
                )
            taken.add(name)
