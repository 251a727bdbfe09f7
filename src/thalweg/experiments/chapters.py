"""Which experiments a reproduction consists of, at each size."""

from dataclasses import dataclass
from enum import StrEnum

from thalweg.experiments.digits_mlp import DigitsMLP
from thalweg.experiments.experiment import DescentExperiment
from thalweg.experiments.network import Network
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
            return [_SCALAR, _REGRESSION, _DIABETES, _SMALL_NETWORK, _NETWORK]
        case Size.FULL:
            return [_SCALAR, _REGRESSION, _DIABETES, _SMALL_NETWORK, _NETWORK, *_ARCHITECTURES]


_SCALAR = Chapter(
    "scalar",
    "Scalar network of depth 4",
    "The product of four numbers is fitted to 1. Gradient flow solutions in closed form.",
    Scalar(step_size=(0.15, 0.22, 0.25), steps=1000, gfs_every=1),
    1e4,
)
_REGRESSION = Chapter(
    "squared-regression",
    "Squared regression, sparse data",
    "A diagonal linear network recovers a sparse vector. Closed form through the convex dual.",
    SquaredRegressionExperiment(step_size=(0.3, 0.6, 0.72)),
    1e4,
)
_DIABETES = Chapter(
    "diabetes",
    "Squared regression, real data",
    "A diagonal linear network on scikit-learn's diabetes data, which it cannot fit.",
    SquaredRegressionExperiment(data="diabetes", step_size=(0.42,), steps=12_000, gfs_every=20),
    1e5,
)
_SMALL_NETWORK = Chapter(
    "mlp-small",
    "Fully connected network, 50 images",
    "A tanh network of two hidden layers of 32 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    Network(
        architecture="mlp",
        step_size=(0.15, 0.3, 0.35),
        steps=300,
        sharpness_every=5,
        gfs_every=25,
        gfs_start=25,
    ),
    4e4,
)
_NETWORK = Chapter(
    "mlp",
    "Fully connected network, 300 images",
    "A tanh network of two hidden layers of 64 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    DigitsMLP(),
    1.7e5,
)
_ARCHITECTURES = [
    Chapter(
        "vgg",
        "Convolutional network like VGG",
        "Convolutions and averages, without normalisation, on handwritten digits.",
        Network(architecture="vgg", samples=30, steps=2400),
        3e5,
    ),
    Chapter(
        "resnet",
        "Convolutional network like ResNet",
        "Residual blocks of convolutions, without normalisation, on handwritten digits.",
        Network(architecture="resnet", widths=(6, 12), samples=20, steps=2400),
        3e5,
    ),
    Chapter(
        "transformer",
        "Transformer",
        "A small transformer encoder over patches of handwritten digits.",
        Network(architecture="transformer", samples=20, patch=4, init_scale=0.7, steps=2400),
        3e5,
    ),
]
