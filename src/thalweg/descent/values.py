"""What a flow, or an eigensolver, leaves in the data: a value only where it reached its end.

Where it did not, the value is NaN, and the number that was reached stands under another name, next
to the status that says why.
"""

import math
from typing import Any

import numpy as np

from thalweg.basics.named import Named
from thalweg.descent.measurements import Attributes, described
from thalweg.flow.solution import FlowSolution, Status


def value_and_reached(number: float, is_value: bool) -> tuple[float, float]:
    """Return the two entries for a number: `(number, NaN)` for a value, else `(NaN, number)`."""
    return (number, math.nan) if is_value else (math.nan, number)


def values_of_flow(name: str, solution: FlowSolution, work: float) -> dict[str, float]:
    """Return what is stored of a flow: the numbers of `variables_of_flow(name, ...)`.

    It has a value if it settled at a minimiser and its error bar is finite.
    """
    number, error = float(solution.sharpness), float(solution.sharpness_error)
    is_value = solution.status.is_settled and math.isfinite(error)
    return _values(name, *value_and_reached(number, is_value), error, solution.status, work)


def no_value(name: str, status: Status, work: float) -> dict[str, float]:
    """Return what is stored where there was no flow to follow."""
    return _values(name, math.nan, math.nan, math.nan, status, work)


def _values(name: str, *numbers: float) -> dict[str, float]:
    names = variables_of_flow(name, {})
    return {name: float(number) for name, number in zip(names, numbers, strict=True)}


def variables_of_flow(name: str, value: Attributes) -> dict[str, Attributes]:
    """Return the variables of a flow that is measured as `name`, in the order of `values_of_flow`.

    Whatever has these variables is summarised, printed and drawn. `value` are the attributes of its
    value: `long_name`; `label` and `symbol` (TeX), by which figures call it (left out, "`name`
    sharpness"); `level`, if it belongs to a level of the loss.
    """
    return {
        f"{name}_sharpness": {"units": "1", **value},
        f"{name}_sharpness_reached": described(
            "sharpness where the flow stood that did not reach its end"
        ),
        f"{name}_sharpness_error": described("error bar of the sharpness (absolute)"),
        f"{name}_status": described("how the flow ended", **flags(Status)),
        f"{name}_gradient_evaluations": described("work of one flow", "gradients"),
    }


def flags(kind: type[Named]) -> dict[str, Any]:
    """Return the attributes that say what the numbers of a status mean."""
    return {
        "flag_values": np.asarray([float(status) for status in kind]),
        "flag_meanings": " ".join(status.name.lower() for status in kind),
    }
