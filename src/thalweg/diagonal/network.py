"""Diagonal linear networks: linear regression through `β = u^p - v^p`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from thalweg.diagonal.convex_dual import (
    DiagonalLimit,
    DualCoordinates,
    dual_coordinates,
    has_closed_form,
    solve,
)
from thalweg.problems.checks import checked
from thalweg.problems.compiling import compiled
from thalweg.problems.problem import COST, ExactLimit, Params, Problem


class DiagonalNetwork(Problem):
    """`L(u, v) = 1/(2n) Σ_k (<u^p - v^p, x_k> - y_k)²`, powers by coordinates, depth `p`.

    Parameters
    ----------
    x, y
        Inputs `(n, d)` and targets `(n,)`. The parameters are `{"u": (d,), "v": (d,)}`.
    depth
        `p`, an integer of at least 2. Depth 2 is `SquaredRegression`.

    Raises
    ------
    ValueError
        The data hold NaN or infinity, no samples, or do not fit together; `depth` is not an
        integer of at least 2.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = DiagonalNetwork(jnp.ones((1, 1)), jnp.ones(1), depth=3)
    >>> w = {"u": jnp.array([0.5]), "v": jnp.array([0.5])}
    >>> float(problem(w))  # ½ (0.125 - 0.125 - 1)²
    0.5
    >>> end = problem.flow_limit(w)  # u^3 - v^3 = 1 at the end, 1/u + 1/v = 4 is conserved
    >>> u, v = end.u[0], end.v[0]
    >>> round(float(u**3 - v**3), 5), round(float(1 / u + 1 / v), 5)
    (1.0, 4.0)
    """

    x: Any
    y: Any
    depth: int = eqx.field(static=True)

    def __init__(self, x: ArrayLike, y: ArrayLike, depth: int):
        x, y = checked(x, "x"), checked(y, "y")
        if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.shape[0]:
            raise ValueError(
                f"x and y must have shapes (n, d) and (n,), but have {x.shape} and {y.shape}; "
                "put samples along the first axis"
            )
        if x.size == 0:
            raise ValueError(
                f"x is empty, of shape {x.shape}; pass at least one sample and feature"
            )
        if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 2:
            raise ValueError(f"depth must be an integer of at least 2, got {depth!r}")
        self.x, self.y, self.depth = _floating(x), _floating(y), int(depth)

    @property
    def is_least_squares(self) -> bool:
        """Always."""
        return True

    def residuals(self, w: Params) -> Float[Array, " n"]:
        """Return `(X (u^p - v^p) - y) / √n`."""
        u, v = self.parts(w)
        x, y = self._data(u.dtype)
        beta = u**self.depth - v**self.depth
        return (x @ beta - y) / jnp.sqrt(jnp.asarray(y.shape[0], u.dtype))

    def __call__(self, w: Params) -> Float[Array, ""]:
        """Return the loss at `w`."""
        r = self.residuals(w)
        return 0.5 * jnp.vdot(r, r)

    def coordinates(self, dtype: Any) -> DualCoordinates:
        """Return the thin singular value decomposition that all flows of this problem share.

        Computed when first asked for, and kept with this object; not for use inside `jax.jit`:
        pass the answer in, as an argument.
        """
        # Not a field: what is compiled for this problem need not take it, nor a copy with other
        # data (`equinox.tree_at`) keep it.
        kept: dict[Any, DualCoordinates] = self.__dict__.setdefault("_coordinates", {})
        dtype = np.dtype(dtype)
        if dtype not in kept:
            with jax.ensure_compile_time_eval():
                kept[dtype] = dual_coordinates(*self._data(dtype))
        return kept[dtype]

    def flow_limit(
        self, w: Params, coordinates: DualCoordinates | None = None, near: Params | None = None
    ) -> DiagonalLimit:
        """Return where gradient flow from `w` ends: traceable, for one start.

        NaN where a coordinate of `u` or `v` is zero or, at odd depths, where `u_j` and `v_j` have
        different signs: the flow may then end in a saddle. For many starts compute
        `coordinates` once and `jax.vmap` over `w`. `near`, the limit of a neighbour, saves
        iterations.
        """
        u, v = self.parts(w)
        x, y = self._data(u.dtype)
        if coordinates is None:
            coordinates = dual_coordinates(x, y)
        guess = (u, v) if near is None else self.parts(near)
        return solve(x, y, coordinates, u, v, guess, self.depth)

    def exact_flow(self, w: Params) -> Callable[[Params | None], ExactLimit] | None:
        """Return what solves the flow from `w`, `None` where a coordinate cannot take both signs.

        Its work, with `k = min(n, d)`: the `k` Jacobian products and their transposes that the
        singular value decomposition is worth, `k` Hessian products and a gradient for each of
        Newton's iterations (its `k × k` system), and `2k` Hessian products for the eigenvalue and
        its error bar.
        """
        u, v = map(np.asarray, self.parts(w))
        if not np.all(has_closed_form(u, v, self.depth)):
            return None
        return lambda near: _exact_limit(self, w, near)

    def parts(self, w: Params) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """Return `u` and `v` in a common dtype.

        Raises
        ------
        ValueError
            `w` is not a dictionary of exactly these two arrays, of shape `(d,)`.
        """
        d = self.x.shape[1]
        if not isinstance(w, dict) or set(w) != {"u", "v"}:
            given = sorted(map(str, w)) if isinstance(w, dict) else type(w).__name__
            raise ValueError(
                f'the parameters must be {{"u": ({d},), "v": ({d},)}}, but are {given}; '
                "pass a dictionary with exactly these two arrays"
            )
        u, v = jnp.asarray(w["u"]), jnp.asarray(w["v"])
        if u.shape != (d,) or v.shape != (d,):
            raise ValueError(
                f"u and v must have shape ({d},), one number per feature of x, but have "
                f"{u.shape} and {v.shape}"
            )
        dtype = jnp.result_type(u, v)
        return u.astype(dtype), v.astype(dtype)

    def _data(self, dtype: Any) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        return self.x.astype(dtype), self.y.astype(dtype)


@compiled
def _limit_and_loss(
    network: DiagonalNetwork, coordinates: DualCoordinates, w: Params, near: Params | None
) -> tuple[DiagonalLimit, Float[Array, ""]]:
    found = network.flow_limit(w, coordinates, near)
    return found, network({"u": found.u, "v": found.v})


def _exact_limit(network: DiagonalNetwork, w: Params, near: Params | None) -> ExactLimit:
    u, v = network.parts(w)
    near = near if _fits(near, u) else None
    arrays = _limit_and_loss(network, network.coordinates(u.dtype), {"u": u, "v": v}, near)
    found, loss = jax.device_get(arrays)
    k = min(network.x.shape)
    newton = k * COST.hessian_product + COST.gradient
    ends = 2 * k * COST.jacobian_product + 2 * k * COST.hessian_product
    return ExactLimit(
        {"u": jnp.asarray(found.u), "v": jnp.asarray(found.v)},
        float(found.sharpness),
        float(found.error),
        float(loss),
        False,
        ends + int(found.iterations) * newton,
        found.eigenvector if np.isfinite(found.sharpness) else None,
    )


def _fits(near: Params | None, u: Float[Array, " d"]) -> bool:
    """Return whether `near` is the parameters of a network whose `u` is like this one."""
    if not isinstance(near, dict) or set(near) != {"u", "v"}:
        return False
    return all(one.shape == u.shape and one.dtype == u.dtype for one in near.values())


def _floating(data: Shaped[Array, "*shape"]) -> Float[Array, "*shape"]:
    return data if jnp.issubdtype(data.dtype, jnp.floating) else data.astype(float)
