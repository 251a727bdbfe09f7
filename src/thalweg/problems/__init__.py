"""What is trained: losses, their derivatives, what is known of them in closed form, and data."""

from thalweg.problems.data import digits
from thalweg.problems.networks import mlp, mlp_init
from thalweg.problems.problem import (
    COST,
    CallableLoss,
    FlatProblem,
    Problem,
    as_problem,
    flatten,
)
from thalweg.problems.scalar_network import ScalarNetwork
from thalweg.problems.squared_regression import SquaredRegression
from thalweg.problems.supervised import Supervised

__all__ = [
    "COST",
    "CallableLoss",
    "FlatProblem",
    "Problem",
    "ScalarNetwork",
    "SquaredRegression",
    "Supervised",
    "as_problem",
    "digits",
    "flatten",
    "mlp",
    "mlp_init",
]
