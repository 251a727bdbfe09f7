"""Squared regression: linear regression through `β = u∘u - v∘v`."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from thalweg.problems.checks import checked
from thalweg.problems.problem import Params, Problem
from thalweg.problems.squared_flow import DualCoordinates, SquaredLimit, dual_coordinates, solve


class SquaredRegression(Problem):
    """`L(u, v) = 1/(2n) Σ_k (<u∘u - v∘v, x_k> - y_k)²`, a diagonal linear network of depth two.

    Parameters
    ----------
    x, y
        Inputs `(n, d)` and targets `(n,)`. The parameters are `{"u": (d,), "v": (d,)}`.

    Raises
    ------
    ValueError
        The data hold NaN or infinity, no samples, or do not fit together.

    Notes
    -----
    The model is one of those in Kreisler, Shpigel Nacson, Soudry and Carmon, ICML 2023,
    arXiv 2305.13064.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = SquaredRegression(jnp.ones((1, 1)), jnp.ones(1))
    >>> w = {"u": jnp.array([0.6]), "v": jnp.array([0.3])}
    >>> round(float(problem(w)), 4)  # ½ (0.36 - 0.09 - 1)²
    0.2664
    >>> end = problem.flow_limit(w)  # u v = 0.18 is conserved, u² - v² = 1 at the end
    >>> round(float(end.sharpness), 4), round(float(4 * (1 + 4 * 0.18**2) ** 0.5), 4)
    (4.2513, 4.2513)
    """

    x: Any
    y: Any

    def __init__(self, x: ArrayLike, y: ArrayLike):
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
        self.x, self.y = _floating(x), _floating(y)

    @property
    def is_least_squares(self) -> bool:
        """Always."""
        return True

    def residuals(self, w: Params) -> Array:
        """Return `(X (u∘u - v∘v) - y) / √n`, shape `(n,)`."""
        u, v = self._parts(w)
        x, y = self._data(u.dtype)
        return (x @ (u * u - v * v) - y) / jnp.sqrt(jnp.asarray(y.shape[0], u.dtype))

    def __call__(self, w: Params) -> Array:
        """Return the loss at `w`, a scalar."""
        r = self.residuals(w)
        return 0.5 * jnp.vdot(r, r)

    def coordinates(self, dtype: Any) -> DualCoordinates:
        """Return the thin singular value decomposition that all flows of this problem share."""
        return dual_coordinates(*self._data(dtype))

    def flow_limit(self, w: Params, coordinates: DualCoordinates | None = None) -> SquaredLimit:
        """Return where gradient flow from `w` ends: traceable, for one start.

        Every `u_j` and `v_j` must differ from zero; where one does not, `sharpness` is NaN, as the
        flow may then end in a saddle. For many starts compute `coordinates` once and `jax.vmap`
        over `w`.
        """
        u, v = self._parts(w)
        x, y = self._data(u.dtype)
        return solve(x, y, dual_coordinates(x, y) if coordinates is None else coordinates, u, v)

    def _data(self, dtype: Any) -> tuple[Array, Array]:
        return self.x.astype(dtype), self.y.astype(dtype)

    def _parts(self, w: Params) -> tuple[Array, Array]:
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


def _floating(data: Array) -> Array:
    return data if jnp.issubdtype(data.dtype, jnp.floating) else data.astype(float)
