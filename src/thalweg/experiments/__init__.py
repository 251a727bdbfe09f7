"""Named experiments: configuration -> run -> folder with results and figure.

Nothing imported here imports JAX, so that the command line can explain itself quickly; `run` is
imported when it is first asked for.
"""

import os
from typing import Any

from thalweg.experiments.digits_mlp import DigitsMLP
from thalweg.experiments.network import Network
from thalweg.experiments.scalar import Scalar
from thalweg.experiments.scalar_bifurcation import ScalarBifurcation
from thalweg.experiments.scalar_depths import ScalarDepths
from thalweg.experiments.scalar_plane import ScalarPlane
from thalweg.experiments.scalar_sweep import ScalarSweepStudy
from thalweg.experiments.squared_regression import SquaredRegressionExperiment
from thalweg.runs.experiment import DescentExperiment, Experiment, Study

EXPERIMENTS: dict[str, type[Experiment]] = {
    experiment.name: experiment
    for experiment in (
        DigitsMLP,
        Network,
        Scalar,
        ScalarDepths,
        ScalarPlane,
        ScalarSweepStudy,
        ScalarBifurcation,
        SquaredRegressionExperiment,
    )
}
"""The experiments by their names on the command line."""

__all__ = [
    "EXPERIMENTS",
    "DescentExperiment",
    "DigitsMLP",
    "Experiment",
    "Network",
    "Scalar",
    "ScalarBifurcation",
    "ScalarDepths",
    "ScalarPlane",
    "ScalarSweepStudy",
    "SquaredRegressionExperiment",
    "Study",
    "resume",
    "run",
]


def resume(folder: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """Continue the run in a folder: `thalweg.runs.runner.resume`, of the experiments above."""
    from thalweg.runs import runner

    return runner.resume(folder, EXPERIMENTS, **options)


def __getattr__(name: str) -> Any:
    if name == "run":
        import importlib

        return importlib.import_module("thalweg.runs.runner").run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
