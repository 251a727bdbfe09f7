"""Sharpness of a scalar network at any point, in closed form up to one root.

The Hessian of `½ (π - y)²` has the entries `H_ii = P_i²` and `H_ij = (2π - y) P_ij`, with `P_i`,
`P_ij` the products of all coordinates but those named. Where no coordinate vanishes it is a
diagonal matrix plus one of rank one. Eliminating all coordinates but the smallest, `w_1`, gives
for an eigenvalue `λ`

    λ - P_1² = Σ_{i>1} A_i (2π - y) (λ ρ_i + A_i (π - y)) / (λ + A_i ρ_i (π - y)),
    A_i = P_1i,  ρ_i = w_1 / w_i ∈ [-1, 1],

which divides by no coordinate but larger ones, and so holds for one or two zeros as well. To the
right of the lower bounds that 2×2 minors and interlacing give, the two sides cross once: at the
top eigenvalue, which bisection finds to the last digits whatever the ties and cancellations.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from thalweg.scalar.product import scaled, split_product

_LN2 = math.log(2.0)
_BISECTIONS = 70  # of a bracket in [0.3, 3 D], to below the last digit


def top_eigenvalue(
    w: Float[Array, " depth *starts"], target: Float[Array, "*#starts"]
) -> tuple[Float[Array, "*starts"], Float[Array, "*starts"]]:
    """Return the largest eigenvalue of the Hessian at `w`, and its logarithm.

    Traceable. The logarithm stays finite where the eigenvalue overflows or
    underflows; the eigenvalue is never negative, and 0 where three coordinates vanish.
    """
    w = jnp.take_along_axis(w, jnp.argsort(jnp.abs(w), axis=0), axis=0)
    y = jnp.broadcast_to(target, w.shape[1:])
    rest, power = split_product(w[2:])  # A_2 = rest 2^power, the largest of the A_i
    mantissa, exponent = split_product(w)
    pi = scaled(mantissa, exponent)
    large = jnp.abs(pi) >= y
    # t = (π - y)/S and c = (2π - y)/S with S = max(|π|, y), formed without overflow.
    small = jnp.where(large, y / jnp.where(large, pi, 1.0), pi / y)
    sign = jnp.sign(pi)
    t = jnp.where(large, sign * (1 - small), small - 1)
    c = jnp.where(large, sign * (2 - small), 2 * small - 1)
    # With Λ = max(P_1², S |A_2|), λ = m Λ: h_i = S A_i/Λ, and P_1²/(S |A_2|) = q.
    squared, extra = split_product(jnp.concatenate([w[1:2], w[1:]]))  # w_2² A_2
    ratio = jnp.abs(w[1] / jnp.where(w[0] == 0, 1.0, w[0]))
    q = jnp.where(large, ratio, jnp.abs(scaled(squared, extra)) / y)
    h2 = jnp.sign(rest) * jnp.where(q > 1, 1 / jnp.maximum(q, 1.0), 1.0)
    others = jnp.where(w[1:] == 0, 1.0, w[1:])
    h = h2[None] * jnp.where(w[1:] == 0, 0.0, w[1][None] / others).at[0].set(1.0)
    rho = jnp.where(w[1:] == 0, 0.0, w[0][None] / others)
    m = _root(h, rho, t, c, jnp.minimum(q, 1.0))
    # Λ, as a number with its own power of two: P_1², or S |A_2|.
    p1, p1_power = split_product(w[1:])
    scale = jnp.where(large, mantissa, y)
    lam = m * jnp.where(q > 1, p1 * p1, jnp.abs(scale * rest))
    power = jnp.where(q > 1, 2 * p1_power, power + jnp.where(large, exponent, 0))
    nan = jnp.isnan(jnp.sum(w, axis=0))
    log = jnp.log(lam) + power.astype(w.dtype) * _LN2
    return jnp.where(nan, jnp.nan, scaled(lam, power)), jnp.where(nan, jnp.nan, log)


def _root(
    h: Float[Array, " others *starts"],
    rho: Float[Array, " others *starts"],
    t: Float[Array, "*starts"],
    c: Float[Array, "*starts"],
    square: Float[Array, "*starts"],
) -> Float[Array, "*starts"]:
    """Return the largest `m` with `m - square = Σ h_i c (m ρ_i + h_i t) / (m + h_i ρ_i t)`."""

    def is_above(m: Float[Array, "*starts"]) -> Bool[Array, "*starts"]:
        terms = h * (m[None] * rho + h * t[None]) / (m[None] + h * rho * t[None])
        return m - square - c * jnp.sum(terms, axis=0) > 0

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        above = is_above(middle)
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low: Array = jnp.maximum(square, jnp.maximum(jnp.abs(c * h[0]), -t * rho[0] * h[0]))
    high: Array = square + 3 * jnp.sum(jnp.abs(h), axis=0)  # Gershgorin's bound
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return 0.5 * (low + high)
