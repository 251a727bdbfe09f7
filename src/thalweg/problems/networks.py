"""Fully connected networks: parameters and predictions, for experiments and tests."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Layers = list[dict[str, Array]]


def mlp_init(key: Array, widths: Sequence[int], dtype: Any = float) -> Layers:
    """Return layers of weights, normal with variance `1/in` (LeCun), and zero biases.

    Each layer is a dictionary `{"weight": (in, out), "bias": (out,)}`.
    """
    layers = []
    for fan_in, fan_out in pairwise(widths):
        key, of_weight = jax.random.split(key)
        weight = jax.random.normal(of_weight, (fan_in, fan_out), dtype) * fan_in**-0.5
        layers.append({"weight": weight, "bias": jnp.zeros(fan_out, dtype)})
    return layers


def mlp(layers: Layers, x: Array, activation: Callable[[Array], Array] = jnp.tanh) -> Array:
    """Return the outputs `(n, widths[-1])` of the network on the batch `x` of shape `(n, in)`."""
    for layer in layers[:-1]:
        x = activation(x @ layer["weight"] + layer["bias"][None, :])
    return x @ layers[-1]["weight"] + layers[-1]["bias"][None, :]
