"""Architectures: initialisers of parameters, and predictions from them."""

from thalweg.models.convolution import resnet, resnet_init, vgg, vgg_init
from thalweg.models.mlp import ACTIVATIONS, mlp, mlp_init
from thalweg.models.transformer import transformer, transformer_init

__all__ = [
    "ACTIVATIONS",
    "mlp",
    "mlp_init",
    "resnet",
    "resnet_init",
    "transformer",
    "transformer_init",
    "vgg",
    "vgg_init",
]


def __dir__() -> list[str]:
    return __all__
