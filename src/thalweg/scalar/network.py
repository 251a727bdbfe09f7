"""Scalar networks: the product of `depth` numbers, fitted to one target."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from thalweg.problems.checks import check_not_traced
from thalweg.problems.compiling import compiled
from thalweg.problems.problem import COST, ExactLimit, Params, Problem
from thalweg.scalar.calls import nan_checks_off
from thalweg.scalar.flow_limit import ScalarLimits, solve_chunks, solve_coordinates_first
from thalweg.scalar.sharpness import top_eigenvalue


class ScalarNetwork(Problem):
    """`L(w) = ½ (π(w) - y)²`, `π(w) = w_1 ⋯ w_D`: one unit per layer, one sample.

    Parameters
    ----------
    depth
        Number of layers `D`, at least 2. The parameters are an array of shape `(depth,)`.
    target
        `y`, positive and finite. Scaling `w = y^(1/D) v` turns every target into 1.

    Raises
    ------
    ValueError
        `depth` is not an integer of at least 2, or `target` is not positive and finite.

    Notes
    -----
    The idea of studying gradient descent on it through the sharpness of gradient flow solutions is
    from Kreisler, Shpigel Nacson, Soudry and Carmon, ICML 2023, arXiv 2305.13064.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> network = ScalarNetwork(depth=2, target=1.0)
    >>> float(network(jnp.array([3.0, 1.0])))  # ½ (3 - 1)²
    2.0
    >>> bool(abs(network.flow_limit(jnp.array([2.0, 0.5])).sharpness - 4.25) < 1e-5)  # x² + y²
    True
    """

    target: Any
    depth: int = eqx.field(static=True)

    def __init__(self, depth: int, target: ArrayLike = 1.0):
        if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 2:
            raise ValueError(f"depth must be an integer of at least 2, got {depth!r}")
        if np.ndim(target) != 0 or not 0 < (y := _number(target)) < math.inf:
            raise ValueError(f"target must be a positive finite number, got {target!r}")
        # numpy: a float64 leaf even where JAX works in float32; cast at use.
        self.target, self.depth = np.asarray(y, np.float64), int(depth)

    @property
    def is_least_squares(self) -> bool:
        """Always: there is one residual."""
        return True

    def residuals(self, w: Params) -> Float[Array, "1"]:
        """Return `[π(w) - y]`."""
        self._check(jnp.shape(w) if isinstance(w, Array | np.ndarray) else None)
        w = jnp.asarray(w)
        return (jnp.prod(w) - self.target_as(w.dtype))[None]

    def __call__(self, w: Params) -> Float[Array, ""]:
        """Return the loss at `w`."""
        r = self.residuals(w)[0]
        return 0.5 * r * r

    def target_as(self, dtype: Any) -> Float[Array, ""]:
        """Return the target in the dtype of the parameters."""
        return jnp.asarray(self.target, dtype)

    def balances(self, w: Float[Array | np.ndarray, " depth"]) -> Float[Array, " depth"]:
        """Return what gradient flow conserves: `w_i² - w_m²`.

        `w_m` is the coordinate of smallest magnitude; computed without cancellation.
        """
        self._check(jnp.shape(w))
        size = jnp.abs(jnp.asarray(w))
        smallest = jnp.min(size)
        return (size - smallest) * (size + smallest)

    def sharpness(self, w: Float[Array, " depth"]) -> Float[Array, ""]:
        """Return the largest eigenvalue of the Hessian at any `w`, to rounding.

        Diagonal plus rank one: no eigensolver is needed. Traceable, as are the next two.
        """
        self._check(jnp.shape(w))
        return top_eigenvalue(jnp.asarray(w), self.target_as(w.dtype))[0]

    def log_sharpness(self, w: Float[Array, " depth"]) -> Float[Array, ""]:
        """Return the logarithm of `sharpness(w)`, finite also where that over- or underflows."""
        self._check(jnp.shape(w))
        return top_eigenvalue(jnp.asarray(w), self.target_as(w.dtype))[1]

    @nan_checks_off()
    def gfs_sharpness_gradient(self, w: Float[Array, " depth"]) -> Float[Array, " depth"]:
        """Return `∇φ(w)`: how the GFS sharpness changes with the start.

        With `r_i = 1/S(w)_i²` and `M = Σ r² / Σ r`, differentiating `Σ log(w_i² + s) = 2 log y`
        gives `∂φ/∂w_i = 2 y² w_i r_i (M - r_i)`, which is orthogonal to the flow. NaN where the
        flow ends in a saddle.
        """
        found = self.flow_limit(jnp.asarray(w))
        r = 1 / (found.limit * found.limit)
        total = jnp.sum(r)
        mean = jnp.sum(r * (r / total))
        gradient = 2 * found.sharpness * w * (r / total) * (mean - r)
        return jnp.where(found.is_saddle, jnp.nan, gradient)

    @nan_checks_off()
    def flow_limit(self, w: Float[Array, " depth"]) -> ScalarLimits:
        """Return where gradient flow from `w` ends: traceable, for one start.

        For very many starts `flow_limits` is several times faster than `jax.vmap` of this.
        """
        self._check(jnp.shape(w))
        return solve_coordinates_first(w, self.target_as(w.dtype))

    def exact_flow(self, w: Float[Array, " depth"]) -> Callable[[Params | None], ExactLimit]:
        """Return what solves the flow from `w`: one gradient for each of Newton's iterations."""
        return lambda near: _exact_limit(self, w)

    def flow_limits(
        self,
        ws: ArrayLike,
        *,
        chunk: int = 500,
        report: Callable[[int], None] | None = None,
    ) -> ScalarLimits:
        """Return where gradient flow from each of many starts ends.

        Parameters
        ----------
        ws
            Starts, shape `(N, depth)`; float32 and float64 are kept, the rest becomes float64
            (float32 where JAX's x64 mode is off).
        chunk
            Starts solved together: small enough that all intermediate arrays stay in cache.
        report
            Called with the number of starts done so far, from worker threads.

        Returns
        -------
        ScalarLimits
            NumPy arrays; `limit` has shape `(N, depth)`, all others `(N,)`.

        Raises
        ------
        ValueError
            `ws` has another shape, or `chunk` is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> found = ScalarNetwork(depth=2).flow_limits([[2.0, 0.5], [1.0, -1.0]])
        >>> found.is_saddle.tolist()  # (1, -1) runs into (0, 0)
        [False, True]
        """
        check_not_traced(ws)
        ws = np.asarray(ws)
        if ws.ndim != 2 or ws.shape[1] != self.depth:
            raise ValueError(
                f"the starts must have shape (N, {self.depth}), but have {ws.shape}; "
                "one row per start, one column per layer"
            )
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}; leave it out for the default")
        return solve_chunks(ws, float(self.target), chunk, report)

    def _check(self, shape: tuple[int, ...] | None) -> None:
        if shape != (self.depth,):
            given = "are not an array" if shape is None else f"have shape {shape}"
            raise ValueError(
                f"the parameters {given}, but this network needs one array of shape "
                f"({self.depth},): pass one number per layer, or change depth"
            )


@compiled
def _limit_and_loss(
    network: ScalarNetwork, w: Float[Array, " depth"]
) -> tuple[ScalarLimits, Float[Array, ""]]:
    found = network.flow_limit(w)
    return found, network(found.limit)


def _exact_limit(network: ScalarNetwork, w: Float[Array, " depth"]) -> ExactLimit:
    found, loss = jax.device_get(_limit_and_loss(network, w))
    vector = None
    if not found.is_saddle and np.isfinite(found.sharpness):
        inverse = np.min(np.abs(found.limit)) / found.limit  # ∇π ∝ 1/w
        vector = jnp.asarray(inverse / np.linalg.norm(inverse))
    return ExactLimit(
        jnp.asarray(found.limit),
        float(found.sharpness),
        float(found.error),
        float(loss),
        bool(found.is_saddle),
        COST.gradient * int(found.iterations),
        vector,
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
