"""Fully connected networks, and the layers that other architectures share.

Every architecture is a pair of plain functions: an initialiser from a key to a pytree of
parameters, and predictions of a batch from that pytree. No architecture lets samples influence each
other (there is no batch normalisation), so each may be called on one sample at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Activation = Callable[[Array], Array]
Layer = dict[str, Array]
Layers = list[Layer]

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "tanh": jnp.tanh,
        "relu": jax.nn.relu,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "softplus": jax.nn.softplus,
    }
)
"""Activations by name; all but `relu` are smooth. `gelu` is the exact one, `x Φ(x)`."""


def dense_init(key: Array, fan_in: int, fan_out: int, dtype: Any = float) -> Layer:
    """Return a layer `{"weight": (in, out), "bias": (out,)}`.

    Weights are normal with variance `1/in` (LeCun), biases are zero.
    """
    weight = jax.random.normal(key, (fan_in, fan_out), dtype) * fan_in**-0.5
    return {"weight": weight, "bias": jnp.zeros(fan_out, dtype)}


def dense(layer: Layer, x: Array) -> Array:
    """Return `x W + b` along the last axis of `x`."""
    bias = layer["bias"].reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ layer["weight"] + bias


def mlp_init(key: Array, widths: Sequence[int], dtype: Any = float) -> Layers:
    """Return layers of weights, normal with variance `1/in` (LeCun), and zero biases.

    Each layer is a dictionary `{"weight": (in, out), "bias": (out,)}`.
    """
    layers = []
    for fan_in, fan_out in pairwise(widths):
        key, of_weight = jax.random.split(key)
        layers.append(dense_init(of_weight, fan_in, fan_out, dtype))
    return layers


def mlp(layers: Layers, x: Array, activation: Activation = jnp.tanh) -> Array:
    """Return the outputs `(n, widths[-1])` of the network on the batch `x` of shape `(n, ...)`."""
    x = x.reshape(x.shape[0], -1)
    for layer in layers[:-1]:
        x = activation(dense(layer, x))
    return dense(layers[-1], x)
