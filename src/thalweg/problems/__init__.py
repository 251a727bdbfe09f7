"""What is trained: losses, their derivatives, what is known of them in closed form, and data."""

from thalweg.problems.convolutional import resnet, resnet_init, vgg, vgg_init
from thalweg.problems.data import diabetes, digits, load_images
from thalweg.problems.diagonal_network import DiagonalNetwork
from thalweg.problems.images import Images, training_data
from thalweg.problems.networks import ACTIVATIONS, mlp, mlp_init
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
from thalweg.problems.transformer import transformer, transformer_init

__all__ = [
    "ACTIVATIONS",
    "COST",
    "CallableLoss",
    "DiagonalNetwork",
    "FlatProblem",
    "Images",
    "Problem",
    "ScalarNetwork",
    "SquaredRegression",
    "Supervised",
    "as_problem",
    "diabetes",
    "digits",
    "flatten",
    "load_images",
    "mlp",
    "mlp_init",
    "resnet",
    "resnet_init",
    "training_data",
    "transformer",
    "transformer_init",
    "vgg",
    "vgg_init",
]


def __dir__() -> list[str]:
    return __all__
