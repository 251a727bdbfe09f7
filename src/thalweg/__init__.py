"""thalweg: the sharpness of gradient flow solutions, with an error bar on every number.

Problems: `ScalarNetwork`, `SquaredRegression`, `DiagonalNetwork`, `Supervised`, or any callable
from parameters to a scalar. Questions: `gradient_flow_solution`, `gfs_sharpness_fall`,
`truncated_sharpness`, `sharpness`, `top_eigenpairs`, `descend`, `monotonicity`, `certify`.
Importing the package changes no setting of JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg import data, descent, figures, flow, models, problems
    from thalweg import runs as results
    from thalweg.curvature import Eigenpairs, sharpness, top_eigenpairs
    from thalweg.descent import (
        GFSSharpness,
        Quantity,
        Run,
        Sharpness,
        TruncatedSharpness,
        descend,
    )
    from thalweg.diagonal import DiagonalNetwork, SquaredRegression
    from thalweg.flow import (
        Fall,
        FlowSolution,
        Status,
        gfs_sharpness_fall,
        gradient_flow_solution,
        truncated_sharpness,
    )
    from thalweg.problems import Problem, Supervised
    from thalweg.scalar import (
        Certificate,
        Finding,
        ScalarNetwork,
        ScalarOutcome,
        ScalarSweep,
        certify,
        scalar_sweep,
    )
    from thalweg.verdict import Monotonicity, monotonicity

_HOME = {
    "curvature": ("Eigenpairs", "sharpness", "top_eigenpairs"),
    "descent": (
        "GFSSharpness",
        "Quantity",
        "Run",
        "Sharpness",
        "TruncatedSharpness",
        "descend",
    ),
    "flow": (
        "Fall",
        "FlowSolution",
        "Status",
        "gfs_sharpness_fall",
        "gradient_flow_solution",
        "truncated_sharpness",
    ),
    "diagonal": ("DiagonalNetwork", "SquaredRegression"),
    "problems": ("Problem", "Supervised"),
    "scalar": (
        "Certificate",
        "Finding",
        "ScalarNetwork",
        "ScalarOutcome",
        "ScalarSweep",
        "certify",
        "scalar_sweep",
    ),
    "verdict": ("Monotonicity", "monotonicity"),
}
_MODULES = {name: name for name in ("data", "descent", "figures", "flow", "models", "problems")} | {
    "results": "runs"
}

__all__ = [
    "Certificate",
    "DiagonalNetwork",
    "Eigenpairs",
    "Fall",
    "Finding",
    "FlowSolution",
    "GFSSharpness",
    "Monotonicity",
    "Problem",
    "Quantity",
    "Run",
    "ScalarNetwork",
    "ScalarOutcome",
    "ScalarSweep",
    "Sharpness",
    "SquaredRegression",
    "Status",
    "Supervised",
    "TruncatedSharpness",
    "certify",
    "data",
    "descend",
    "descent",
    "figures",
    "flow",
    "gfs_sharpness_fall",
    "gradient_flow_solution",
    "models",
    "monotonicity",
    "problems",
    "results",
    "scalar_sweep",
    "sharpness",
    "top_eigenpairs",
    "truncated_sharpness",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `thalweg --help` should not wait for JAX."""
    if name in _MODULES:
        return importlib.import_module(f"thalweg.{_MODULES[name]}")
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"thalweg.{module}"), name)
    raise AttributeError(f"module 'thalweg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
