"""What architectures share: activations, dense layers, and that parameters fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from thalweg.basics.lazy import Lazy
from thalweg.basics.memory import check_fits

if TYPE_CHECKING:
    import jax as jax
    import jax.numpy
    from jaxtyping import Array, Float

    jnp = jax.numpy
else:  # options are read before the seconds that importing JAX takes
    jax, jnp = Lazy("jax"), Lazy("jax.numpy")

Activation = Callable[["Array"], "Array"]
Layer = dict[str, "Array"]

COPIES = 4  # of the parameters, at least: iterate, gradient, what a flow and an eigensolver work on


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the hyperbolic tangent."""
    return jnp.tanh(x)


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `max(x, 0)`."""
    return jax.nn.relu(x)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `x Φ(x)`, `Φ` the distribution function of the normal distribution."""
    return jax.nn.gelu(x, approximate=False)


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `log(1 + exp(x))`."""
    return jax.nn.softplus(x)


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {"tanh": tanh, "relu": relu, "gelu": gelu, "softplus": softplus}
)
"""Activations by name; all but `relu` are smooth."""


def dense_init(key: Array, fan_in: int, fan_out: int, dtype: Any = float) -> Layer:
    """Return a layer `{"weight": (in, out), "bias": (out,)}`.

    Weights are normal with variance `1/in` (LeCun), biases are zero.
    """
    weight = jax.random.normal(key, (fan_in, fan_out), dtype) * fan_in**-0.5
    return {"weight": weight, "bias": jnp.zeros(fan_out, dtype)}


def dense(layer: Layer, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch fan_out"]:
    """Return `x W + b` along the last axis of `x`."""
    bias = layer["bias"].reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ layer["weight"] + bias


def init_if_fits(initialise: Callable[[], Any]) -> Any:
    """Return what `initialise` does, or raise a ValueError if that would not fit into memory."""
    shapes = jax.tree.leaves(jax.eval_shape(initialise))
    size = sum(shape.size * shape.dtype.itemsize for shape in shapes)
    check_fits(COPIES * size, "the parameters", "choose smaller widths")
    return initialise()
