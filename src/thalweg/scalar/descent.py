"""Gradient descent on scalar networks, for millions of starts: coordinates first, traceable.

`L(w) = ½ (π(w) - y)²`, `π(w) = w_1 ⋯ w_D`, so that `∂L/∂w_i = (π - y) P_i` with the products of
the others `P_i = ∏_{j≠i} w_j`. These are built from partial products from both ends rather than by
division, which serves coordinates that are zero too. Starts lie along the last axis, over which
the compiler vectorises.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def product_and_others(
    w: Float[Array, " depth *starts"],
) -> tuple[Float[Array, "*starts"], Float[Array, " depth *starts"]]:
    """Return `π` and the `P_i`."""
    depth = w.shape[0]
    ones = jnp.ones_like(w[0])
    before, after = [ones], [ones]
    for i in range(depth):
        before.append(before[-1] * w[i])
        after.append(after[-1] * w[depth - 1 - i])
    return before[-1], jnp.stack([before[i] * after[depth - 1 - i] for i in range(depth)])


def gradient_step(
    w: Float[Array, " depth *starts"],
    step_size: Float[Array, "*#starts"],
    target: Float[Array, "*#starts"],
) -> tuple[Float[Array, " depth *starts"], Float[Array, "*starts"]]:
    """Return one step of gradient descent from `w`, and the loss at `w`."""
    product, others = product_and_others(w)
    residual = product - target
    return w - (step_size * residual)[None] * others, 0.5 * residual * residual


def sharpness_near_minimum(
    w: Float[Array, " depth *starts"], target: Float[Array, "*#starts"]
) -> Float[Array, "*starts"]:
    """Return the top eigenvalue of the Hessian close to a global minimum.

    The Hessian is `P Pᵀ + (π - y) K` with `K_ij = ∏_{k≠i,j} w_k` off the diagonal and `K_ii = 0`.
    The value is of first order in `π - y`: `‖P‖² + (π - y) PᵀKP / ‖P‖²`, where
    `PᵀKP = π³ Σ_{i≠j} (w_i w_j)⁻²`; what is left out is of the relative size of the loss in units
    of `target²`. No coordinate may be zero.
    """
    product, others = product_and_others(w)
    inverse = 1 / (w * w)
    total = jnp.sum(inverse, axis=0)
    pairs = jnp.sum(inverse * (total[None] - inverse), axis=0)
    norm = jnp.sum(others * others, axis=0)
    return norm + (product - target) * product**3 * pairs / norm


def hessian_product(
    w: Float[Array, " depth *starts"],
    vector: Float[Array, " depth *starts"],
    target: Float[Array, "*#starts"],
) -> Float[Array, " depth *starts"]:
    """Return `H(w) v`, where no coordinate of `w` is zero.

    `H = P Pᵀ + (π - y) K`, with `K_ij = π / (w_i w_j)` off the diagonal and `K_ii = 0`.
    """
    product, others = product_and_others(w)
    along = vector / w
    rest = (jnp.sum(along, axis=0)[None] - along) / w
    return (
        others * jnp.sum(others * vector, axis=0)[None]
        + ((product - target) * product)[None] * rest
    )
