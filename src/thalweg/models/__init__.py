"""Architectures: initialisers of parameters, and predictions from them.

Each is one file, with its options and its functions, and one line in `ARCHITECTURES`.
"""

from thalweg.models.architecture import Architecture, option
from thalweg.models.layers import ACTIVATIONS
from thalweg.models.mlp import MLP, mlp, mlp_init
from thalweg.models.resnet import ResNet, resnet, resnet_init
from thalweg.models.transformer import Transformer, transformer, transformer_init
from thalweg.models.vgg import VGG, vgg, vgg_init

ARCHITECTURES: dict[str, type[Architecture]] = {
    "mlp": MLP,
    "vgg": VGG,
    "resnet": ResNet,
    "transformer": Transformer,
}
"""The architectures by their names on the command line."""

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "MLP",
    "VGG",
    "Architecture",
    "ResNet",
    "Transformer",
    "mlp",
    "mlp_init",
    "option",
    "resnet",
    "resnet_init",
    "transformer",
    "transformer_init",
    "vgg",
    "vgg_init",
]


def __dir__() -> list[str]:
    return sorted(__all__)
