"""Which experiments a reproduction consists of, at each size."""

import os
from enum import StrEnum
from typing import Any

from thalweg.experiments.digits_mlp import DigitsMLP
from thalweg.experiments.network import Network
from thalweg.experiments.scalar import Scalar
from thalweg.experiments.squared_regression import SquaredRegressionExperiment
from thalweg.reproduce.case import Case
from thalweg.reproduce.large import found_images, large_cases


class Size(StrEnum):
    """How large a reproduction is: at most 3 minutes on two cores, about 25, or for a GPU."""

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
            # What takes longest begins early, for processes that run them side by side.
            return [_SCALAR, _REGRESSION, _DIABETES, *_ARCHITECTURES, _NETWORK, _SMALL_NETWORK]
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
    SquaredRegressionExperiment(
        data="diabetes", step_size=(0.42,), steps=30_000, gfs_every=50, sharpness_every=5
    ),
    2e5,
)
# On images of 8 × 8 pixels. From starts of this scale no residual is far slower than the others,
# and runs of this length settle. Where φ hardly changes any more, values would leave it open
# whether it falls: of each run they are at first, and then where it changes most.
_SIXTY: dict[str, Any] = {
    "samples": 60,
    "sharpness_every": 100,
    "gfs_at": (0, 1, 3, 10, 30, 100),
    "gfs_points": 15,
}
# The step sizes of networks: one below the edge of stability and two that reach it.
_SMALL_NETWORK = Case(
    "mlp-small",
    "Fully connected network, 60 images",
    "A tanh network of two hidden layers of 64 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    Network(
        architecture="mlp",
        widths=(64, 64),
        step_size=(0.1, 0.18, 0.21),
        samples=60,
        steps=4000,
        sharpness_every=50,
    ),
    8e4,
)
_NETWORK = Case(
    "mlp",
    "Fully connected network, 300 images",
    "A tanh network of two hidden layers of 64 units on handwritten digits. The flows are "
    "integrated, with error bars.",
    DigitsMLP(),
    2.1e5,
)
_ARCHITECTURES = [
    Case(
        "resnet",
        "Convolutional network like ResNet",
        "Residual blocks of convolutions, without normalisation, on 60 handwritten digits.",
        Network(
            architecture="resnet",
            widths=(4, 24),
            init_scale=2.0,
            step_size=(0.15, 0.24, 0.28),
            steps=6000,
            **_SIXTY,
        ),
        8e4,
    ),
    Case(
        "vgg",
        "Convolutional network like VGG",
        "Convolutions and averages, without normalisation, on 60 handwritten digits.",
        Network(
            architecture="vgg",
            widths=(8, 16),
            dense=(128,),
            init_scale=1.5,
            step_size=(0.05, 0.14, 0.17),
            steps=15_000,
            **_SIXTY | {"gfs_at": (0, 1, 3, 10, 30)},
        ),
        9e4,
    ),
    Case(
        "transformer",
        "Transformer",
        "A transformer encoder over patches of 60 handwritten digits.",
        Network(
            architecture="transformer",
            widths=(32,),
            patch=4,
            step_size=(0.035, 0.13, 0.15),
            steps=9000,
            **_SIXTY,
        ),
        8e4,
    ),
    Case(
        "mlp-100",
        "Fully connected network, 100 images",
        "A tanh network of hidden layers of 128 and 64 units on handwritten digits.",
        Network(
            architecture="mlp",
            widths=(128, 64),
            step_size=(0.1, 0.19, 0.21),
            steps=10_000,
            **_SIXTY | {"samples": 100, "gfs_at": (0, 1, 3, 10, 30, 60, 3000)},
        ),
        8e4,
    ),
]
