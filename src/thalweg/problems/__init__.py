"""What is trained: losses, and the one place where their derivatives come from."""

from thalweg.problems.problem import (
    COST,
    CallableLoss,
    ExactLimit,
    FlatProblem,
    Problem,
    as_problem,
    flatten,
)
from thalweg.problems.sharding import shard_samples
from thalweg.problems.supervised import Supervised

__all__ = [
    "COST",
    "CallableLoss",
    "ExactLimit",
    "FlatProblem",
    "Problem",
    "Supervised",
    "as_problem",
    "flatten",
    "shard_samples",
]


def __dir__() -> list[str]:
    return __all__
