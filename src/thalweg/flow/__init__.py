"""Gradient flow to its limit, with an error bar on the sharpness there.

`method.py` says what a method is; `closed_form.py`, `exponential_rosenbrock.py`, `exponential.py`,
`stabilized.py`, `kinked.py` and `runge_kutta4.py` are the methods. The stabilised one is built from
`rkc.py` (the diffrax solver), `segment.py` (a trial step of it), `follow.py` (the flow at one
tolerance, to its end), `finish.py` (the limit of the linearised flow) and `look.py` (what is known
of a limit), `endpoint.py` (the stationary point there), `twice.py` (two tolerances make an error
bar) and `course.py` (the steps taken), by which `fall.py` compares neighbours. What a flow can come
to instead of a minimum: `saddle.py`, `runaway.py`, `failing.py`, `sides.py`; `kinks.py` tells kinks
beforehand.
"""

from thalweg.flow.closed_form import ClosedForm
from thalweg.flow.exponential import Exponential
from thalweg.flow.exponential_rosenbrock import ExponentialRosenbrock
from thalweg.flow.fall import Fall, gfs_sharpness_fall
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.kinked import Kinked
from thalweg.flow.method import Method, Progress, Request
from thalweg.flow.rkc import RKC2
from thalweg.flow.runge_kutta4 import RungeKutta4
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.stabilized import Stabilized
from thalweg.flow.truncated import truncated_sharpness

__all__ = [
    "RKC2",
    "ClosedForm",
    "Exponential",
    "ExponentialRosenbrock",
    "Fall",
    "FlowSolution",
    "Kinked",
    "Method",
    "Progress",
    "Request",
    "RungeKutta4",
    "Stabilized",
    "Status",
    "gfs_sharpness_fall",
    "gradient_flow_solution",
    "truncated_sharpness",
]


def __dir__() -> list[str]:
    return __all__
