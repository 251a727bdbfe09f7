"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg.basics.checks import Width
from thalweg.models.architecture import Architecture, Shape, option
from thalweg.models.layers import Activation, Layer, dense, dense_init, jax, tanh

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Layers = list[Layer]


def mlp_init(key: Array, widths: Sequence[int], dtype: Any = float) -> Layers:
    """Return layers of weights, normal with variance `1/in` (LeCun), and zero biases.

    Each layer is a dictionary `{"weight": (in, out), "bias": (out,)}`.
    """
    layers = []
    for fan_in, fan_out in pairwise(widths):
        key, of_weight = jax.random.split(key)
        layers.append(dense_init(of_weight, fan_in, fan_out, dtype))
    return layers


def mlp(
    layers: Layers, x: Float[Array, "n ..."], activation: Activation = tanh
) -> Float[Array, "n outputs"]:
    """Return the outputs of the network on the batch `x`."""
    x = x.reshape(x.shape[0], -1)
    for layer in layers[:-1]:
        x = activation(dense(layer, x))
    return dense(layers[-1], x)


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    """A fully connected network."""

    widths: tuple[Width, ...] = option((32, 32), "units of the hidden layers")

    def init(self, key: Array, image: Shape, outputs: int) -> Any:
        """Return random parameters."""
        return mlp_init(key, (prod(image), *self.widths, outputs))

    predict = staticmethod(mlp)
