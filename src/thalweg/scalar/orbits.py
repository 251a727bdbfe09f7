"""Iterates of gradient descent on scalar networks, kept: paths, and what runs end up on."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray

from thalweg.scalar.descent import gradient_step, hessian_product


class Orbits(NamedTuple):
    """Kept iterates of many runs.

    Attributes
    ----------
    w
        Shape `(N, keep, D)`: the iterates `skip`, `skip + 1`, ...
    exponent
        Largest Lyapunov exponent `1/keep Σ log(‖δ_{t+1}‖ / ‖δ_t‖)` over the kept iterates, shape
        `(N,)`, where `δ_{t+1} = (I - step_size H(w_t)) δ_t`: positive for chaos, negative where
        neighbours end up on the same cycle.
    """

    w: NDArray[np.float64]
    exponent: NDArray[np.float64]


def scalar_orbits(
    starts: ArrayLike, step_size: ArrayLike, *, skip: int, keep: int, target: float = 1.0
) -> Orbits:
    """Follow gradient descent on a scalar network from starts `(N, D)`, and keep iterates.

    Parameters
    ----------
    starts
        Shape `(N, D)`, without zeros.
    step_size
        A positive number, or one for each start, shape `(N,)`.
    skip, keep
        Iterates to leave out, and to keep after them.

    Examples
    --------
    >>> orbits = scalar_orbits([[3.0, 1.0]], 0.1, skip=0, keep=2)
    >>> orbits.w[0].round(4).tolist()  # (3 - 1) * (1, 3) / 10 less
    [[3.0, 1.0], [2.8, 0.4]]
    """
    ws = np.asarray(starts, np.float64)
    sizes = np.broadcast_to(np.asarray(step_size, np.float64), ws.shape[:1])
    w, exponent = _iterate(jnp.asarray(ws.T), jnp.asarray(sizes), target, skip, keep)
    return Orbits(np.asarray(w).transpose(2, 0, 1), np.asarray(exponent))


@partial(jax.jit, static_argnums=4)
def _iterate(
    w: Float[Array, " depth N"],
    sizes: Float[Array, " N"],
    target: Float[Array, ""],
    skip: int,
    keep: int,
) -> tuple[Float[Array, "keep depth N"], Float[Array, " N"]]:
    def advance(_: Array, w: Array) -> Array:
        return gradient_step(w, sizes, target)[0]

    def step(
        carry: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        w, tangent = carry
        moved = tangent - sizes[None] * hessian_product(w, tangent, target)
        norm = jnp.sqrt(jnp.sum(moved * moved, axis=0))
        # Where the map is flat the tangent vanishes; any direction serves from there on.
        onward = jnp.where(norm > 0, moved / norm[None], tangent)
        return (gradient_step(w, sizes, target)[0], onward), (w, jnp.log(norm))

    w = jax.lax.fori_loop(0, skip, advance, w)
    tangent = jnp.ones_like(w) / jnp.sqrt(jnp.asarray(w.shape[0], w.dtype))
    _, (kept, growth) = jax.lax.scan(step, (w, tangent), length=keep)
    return kept, jnp.mean(growth, axis=0)
