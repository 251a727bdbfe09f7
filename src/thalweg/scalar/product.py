"""Products of the coordinates of a scalar network, safe from overflow of intermediate products.

A product such as `1e-200 · 1e-200 · 1e200 · 1e200` is 1, though partial products underflow. Split
into mantissas and exponents of two, all of it is exact but the product of the mantissas.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_BLOCK = 100  # mantissas in [1/2, 1): 2^-100 fits every floating type


def split_product(
    factors: Float[Array, " factors *shape"],
) -> tuple[Float[Array, "*shape"], Int[Array, "*shape"]]:
    """Return `m` and `e` with `Π factors = m 2^e`, `|m| ∈ [1/2, 1)` (or 0), over the first axis.

    The relative error of `m` is at most half the rounding unit per factor; `e` is an integer,
    int32. A product without factors is 1.
    """
    shape = factors.shape[1:]
    mantissa, exponent = jnp.frexp(jnp.ones(shape, factors.dtype))
    for i in range(0, factors.shape[0], _BLOCK):
        parts, powers = jnp.frexp(factors[i : i + _BLOCK])
        mantissa, carry = jnp.frexp(mantissa * jnp.prod(parts, axis=0))
        exponent = exponent + carry + jnp.sum(powers, axis=0, dtype=exponent.dtype)
    return mantissa, exponent


def scaled(mantissa: Float[Array, "*shape"], power: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `mantissa 2^power`, in two steps: `2^power` may overflow where the result does not."""
    half = power // 2
    return jnp.ldexp(jnp.ldexp(mantissa, half), power - half)


def product(factors: Float[Array, " factors *shape"]) -> Float[Array, "*shape"]:
    """Return `Π factors` over the first axis: infinite or zero only where the product itself is."""
    return scaled(*split_product(factors))
