"""Which experiments a reproduction consists of, at each size."""

import os
from enum import StrEnum

from thalweg.experiments.digits_mlp import DigitsMLP
from thalweg.experiments.network import Network
from thalweg.experiments.scalar import Scalar
from thalweg.experiments.squared_regression import SquaredRegressionExperiment
from thalweg.reproduce.case import Case
from thalweg.reproduce.large import found_images, large_cases


class Size(StrEnum):
    """How large a reproduction is: at most 3 minutes on two cores, at most 20, or for a GPU."""

    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"


def cases(size: Size, data_dir: str | os.PathLike[str] | None = None) -> list[Case]:
    """Return the cases of a reproduction: the three settings, the networks last.

    The networks of the full size are trained on the images that are there: Fashion-MNIST or MNIST,
    in `data_dir` or from a package, and CIFAR-10 too where `data_dir` holds it. Raises a ValueError
    where there are none.
    """
    match size:
        case Size.QUICK:
            return [_SCALAR, _REGRESSION, _SMALL_NETWORK]
        case Size.DEFAULT:
            return [_SCALAR, _REGRESSION, _DIABETES, _SMALL_NETWORK, _NETWORK, *_ARCHITECTURES]
        case Size.FULL:
            return [*cases(Size.DEFAULT), *large_cases(found_images(data_dir))]


_SCALAR = Case(
    "scalar",
    "Scalar network of depth 4",
    "The product of four numbers is fitted to 1. Gradient flow solutions in closed form.",
    Scalar(step_size=(0.15, 0.22, 0.25), steps=1000, gfs_every=1),
    1.5e4,
)
_REGRESSION = Case(
    "squared-regression",
    "Squared regression, sparse data",
    "A diagonal linear network recovers a sparse vector. Closed form through the convex dual.",
    SquaredRegressionExperiment(step_size=(0.3, 0.6, 0.72)),
    3e4,
)
_DIABETES = Case(
    "diabetes",
    "Squared regression, real data",
    "A diagonal linear network on scikit-learn's diabetes data, which it cannot fit.",
    SquaredRegressionExperiment(data="diabetes", step_size=(0.42,), steps=12_000, gfs_every=20),
    2e5,
)
_LONG = {"steps": 6000, "gfs_every": 500}
# The step sizes of networks are rounded from those that `thalweg run network` chooses by itself:
# one below the edge of stability and two that reach it.
_SMALL_NETWORK = Case(
    "mlp-small",
    "Fully connected network, 50 images",
    "A tanh network of two hidden layers of 32 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    Network(
        architecture="mlp",
        init_scale=0.5,
        step_size=(0.25, 0.5, 0.6),
        steps=3000,
        sharpness_every=10,
        gfs_every=250,
    ),
    9e4,
)
_NETWORK = Case(
    "mlp",
    "Fully connected network, 300 images",
    "A tanh network of two hidden layers of 64 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    DigitsMLP(),
    1.4e5,
)
_ARCHITECTURES = [
    Case(
        "vgg",
        "Convolutional network like VGG",
        "Convolutions and averages, without normalisation, on 20 handwritten digits.",
        Network(architecture="vgg", samples=20, step_size=(0.075, 0.17, 0.2), **_LONG),
        4e4,
    ),
    Case(
        "resnet",
        "Convolutional network like ResNet",
        "Residual blocks of convolutions, without normalisation, on 20 handwritten digits of "
        "4 × 4 pixels.",
        Network(
            architecture="resnet",
            widths=(6, 12),
            samples=20,
            image_size=4,
            step_size=(0.08, 0.19, 0.23),
            steps=3000,
            gfs_every=250,
        ),
        6e4,
    ),
    Case(
        "transformer",
        "Transformer",
        "A small transformer encoder over patches of 20 handwritten digits.",
        Network(
            architecture="transformer",
            samples=20,
            patch=4,
            init_scale=0.7,
            step_size=(0.05, 0.16, 0.18),
            **_LONG,
        ),
        4e4,
    ),
]
