"""Which experiments a reproduction consists of, at each size."""

from dataclasses import dataclass
from enum import StrEnum

from thalweg.experiments.digits_mlp import DigitsMLP
from thalweg.experiments.experiment import DescentExperiment
from thalweg.experiments.scalar import Scalar
from thalweg.experiments.squared_regression import SquaredRegressionExperiment


class Size(StrEnum):
    """How large a reproduction is: about 3 minutes on two cores, 15, or as long as it takes."""

    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"


@dataclass(frozen=True)
class Chapter:
    """One experiment of a reproduction, with what a reader is told of it.

    Attributes
    ----------
    folder
        Name of its run folder.
    title, description
        For the reader.
    config
        The experiment.
    evaluations
        Gradient evaluations of one of its runs, from an earlier one: to estimate the time.
    """

    folder: str
    title: str
    description: str
    config: DescentExperiment
    evaluations: float


def chapters(size: Size) -> list[Chapter]:
    """Return the chapters of a reproduction: the three settings, the networks last."""
    match size:
        case Size.QUICK:
            return [_SCALAR, _REGRESSION, _SMALL_NETWORK]
        case Size.DEFAULT:
            return [_SCALAR, _REGRESSION, _NETWORK]
        case Size.FULL:
            return [_SCALAR, _REGRESSION, _NETWORK]


_SCALAR = Chapter(
    "scalar",
    "Scalar network of depth 4",
    "The product of four numbers is fitted to 1. Gradient flow solutions in closed form.",
    Scalar(step_size=(0.15, 0.22, 0.25), steps=1000, gfs_every=1),
    1e4,
)
_REGRESSION = Chapter(
    "squared-regression",
    "Squared regression",
    "A diagonal linear network recovers a sparse vector. Closed form through the convex dual.",
    SquaredRegressionExperiment(step_size=(0.3, 0.6, 0.72)),
    1e5,
)
_SMALL_NETWORK = Chapter(
    "mlp-small",
    "Fully connected network, small",
    "A tanh network on 100 images of handwritten digits.",
    DigitsMLP(samples=100, widths=(16,), steps=200, gfs_every=20, gfs_start=20),
    1e5,
)
_NETWORK = Chapter(
    "mlp", "Fully connected network", "A tanh network on handwritten digits.", DigitsMLP(), 2e5
)
