"""Convolutions as matrix products, where XLA has no fast ones.

On a CPU its convolutions are many times slower within a loop, where flows spend their time, and
with weights of each sample's own, which gradients of single samples need. There the product of all
patches of the images with the weights takes their place.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal
from jax.extend.core.primitives import conv_general_dilated_p
from jaxtyping import Array

LARGEST_KERNEL = 49
"""Pixels of a kernel up to which there are patches: so many times larger than the images."""


def with_products(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, on a CPU with its convolutions as matrix products.

    Those in loops, in branches, and in parts with a derivative of their own are left as they are;
    all are where nothing is being compiled.

    Examples
    --------
    >>> image, kernel = jnp.arange(9.0).reshape(1, 1, 3, 3), jnp.ones((1, 1, 2, 2))
    >>> convolve = lambda image: lax.conv(image, kernel, (1, 1), "VALID")
    >>> jax.jit(lambda image: with_products(convolve, image))(image)[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    is_traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args))
    if not is_traced or jax.default_backend() != "cpu":
        return function(*args)
    traced, shapes, static = eqx.filter_make_jaxpr(function)(*args)
    if not _convolves(traced):
        return function(*args)
    arrays = [leaf for leaf in jax.tree.leaves(args) if eqx.is_array(leaf)]
    outputs = jax.tree.unflatten(jax.tree.structure(shapes), _evaluate(traced, arrays))
    return eqx.combine(outputs, static)


def _convolves(traced: ClosedJaxpr) -> bool:
    return any(
        _convolves(equation.params["jaxpr"]) if _is_call(equation) else _is_replaced(equation)
        for equation in traced.jaxpr.eqns
    )


def _is_call(equation: JaxprEqn) -> bool:
    return equation.primitive.name in ("jit", "pjit")


def _is_replaced(equation: JaxprEqn) -> bool:
    if equation.primitive is not conv_general_dilated_p:
        return False
    kernel: Any = equation.invars[1].aval
    pixels = [kernel.shape[axis] for axis in equation.params["dimension_numbers"].rhs_spec[2:]]
    return math.prod(pixels) <= LARGEST_KERNEL and bool(equation.params["batch_group_count"] == 1)


def _evaluate(traced: ClosedJaxpr, arrays: list[Array]) -> list[Array]:
    values = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    values |= dict(zip(traced.jaxpr.invars, arrays, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in traced.jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        if _is_call(equation) and _convolves(equation.params["jaxpr"]):
            outputs = _evaluate(equation.params["jaxpr"], inputs)
        elif _is_replaced(equation):
            outputs = [convolution_as_product(*inputs, **equation.params)]
        else:
            with equation.ctx.manager:
                options = equation.primitive.get_bind_params(equation.params)
                outputs = equation.primitive.bind(*inputs, **options)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in traced.jaxpr.outvars]


def convolution_as_product(
    images: Array,
    kernel: Array,
    *,
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: lax.ConvDimensionNumbers,
    feature_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    **_: Any,
) -> Array:
    """Return `jax.lax.conv_general_dilated` as one product of all patches with the kernel."""
    at_images, at_kernel, at_outputs = dimension_numbers
    images = jnp.transpose(images, (at_images[0], *at_images[2:], at_images[1]))
    kernel = jnp.transpose(kernel, (*at_kernel[2:], at_kernel[1], at_kernel[0]))
    *pixels, channels, features = kernel.shape
    edges = [(*edge, step - 1) for edge, step in zip(padding, lhs_dilation, strict=True)]
    images = lax.pad(images, images.dtype.type(0), [(0, 0, 0), *edges, (0, 0, 0)])
    spans = [(size - 1) * step for size, step in zip(pixels, rhs_dilation, strict=True)]

    def seen_by(pixel: tuple[int, ...]) -> Array:
        start = [at * step for at, step in zip(pixel, rhs_dilation, strict=True)]
        sizes = zip(images.shape[1:-1], spans, start, strict=True)
        limit = [size - span + begin for size, span, begin in sizes]
        strides = (1, *window_strides, 1)
        return lax.slice(images, (0, *start, 0), (len(images), *limit, images.shape[-1]), strides)

    groups = feature_group_count
    shifts = [seen_by(pixel) for pixel in np.ndindex(*pixels)]
    size = shifts[0].shape[:-1]
    # Of a single group XLA makes no matrix product by itself.
    shape, product = ((groups,), "agk,kgo->ago") if groups > 1 else ((), "ak,ko->ao")
    patches = jnp.concatenate([shift.reshape(-1, *shape, channels) for shift in shifts], axis=-1)
    weights = kernel.reshape(-1, *shape, features // groups)
    outputs = jnp.einsum(
        product,
        patches,
        weights,
        precision=precision,
        preferred_element_type=preferred_element_type,
    ).reshape(*size, features)
    axes = (at_outputs[0], *at_outputs[2:], at_outputs[1])
    return jnp.transpose(outputs, np.argsort(axes).tolist())
