"""Gradient flow to its limit, with an error bar on the sharpness there.

`method.py` says what a method is; `closed_form.py`, `exponential_rosenbrock.py`, `exponential.py`,
`stabilized.py`, `nonsmooth.py` and `runge_kutta4.py` are the methods. The stabilised one is built
from `rkc.py` (the diffrax solver), `step.py` (a trial step of it), `step_control.py` (the length of
the next), `integrate.py` (the flow at one tolerance, by the choices of `integration_options.py`),
`linearized_limit.py` (where the linearised flow ends), `limit_estimate.py` (what is known of a
limit), `stationary_point.py` (the one next to it), `integration.py` and `shifted_limit.py` (the
finer and the coarser one of two integrations), `tolerance_pair.py` (which make an error bar) and
`step_record.py` (the steps taken), by which `difference.py` compares neighbours.
`gradient_flow_solutions.py` follows many flows. What a flow can come to instead of a minimum:
`saddle.py`, `diverging_flow.py`, `failure.py`, `one_sided_sharpness.py`; `gradient_jumps.py` tells
kinks beforehand.
"""

from thalweg.flow.closed_form import ClosedForm
from thalweg.flow.difference import Fall, gfs_sharpness_fall
from thalweg.flow.exponential import Exponential
from thalweg.flow.exponential_rosenbrock import ExponentialRosenbrock
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.gradient_flow_solutions import gradient_flow_solutions
from thalweg.flow.integration_options import LimitSearch, LocalErrors, SpectralBound
from thalweg.flow.method import FlowProgress as Progress
from thalweg.flow.method import Method, Request
from thalweg.flow.nonsmooth import Kinked
from thalweg.flow.rkc import RKC2
from thalweg.flow.runge_kutta4 import RungeKutta4
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.stabilized import Stabilized
from thalweg.flow.step_control import StepControl
from thalweg.flow.tolerance_pair import Ladder
from thalweg.flow.truncated import truncated_sharpness

__all__ = [
    "RKC2",
    "ClosedForm",
    "Exponential",
    "ExponentialRosenbrock",
    "Fall",
    "FlowSolution",
    "Kinked",
    "Ladder",
    "LimitSearch",
    "LocalErrors",
    "Method",
    "Progress",
    "Request",
    "RungeKutta4",
    "SpectralBound",
    "Stabilized",
    "Status",
    "StepControl",
    "gfs_sharpness_fall",
    "gradient_flow_solution",
    "gradient_flow_solutions",
    "truncated_sharpness",
]


def __dir__() -> list[str]:
    return __all__
