"""RKC2: a stabilised explicit Runge–Kutta method of order 2, as a `diffrax` solver.

The `s`-stage method of Sommeijer, Shampine and Verwer (J. Comput. Appl. Math. 88, 1998) is stable
for `h λ ≤ 0.653 s²` along the negative real axis, so a step `h` costs about `√(h λ / 0.653)`
evaluations of the vector field instead of `h λ / 2.8`. Its stability polynomials are shifted,
damped Chebyshev polynomials; the coefficients of its three-term recursion are computed on the
fly from `T_j, T_j', T_j''`, so that one compiled program serves every number of stages.
"""

from collections.abc import Callable
from math import ceil, sqrt
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

DAMPING = 2 / 13
ERROR = 0.8, 0.4  # of the difference of the ends, and of `h` times the sum of their velocities
STABILITY = 0.653  # (2/3) (1 - 2·damping/15), the boundary β(s) ≈ 0.653 (s² - 1)

Evaluated = tuple[Array, Any]  # `f(t, y)`, and whatever is computed along with it


def stages(step: Array, spectral_radius: Array) -> Array:
    """Return the least number of stages, at least 2, that is stable for `step · spectral_radius`.

    Examples
    --------
    >>> int(stages(jnp.array(1.0), jnp.array(653.0)))
    32
    """
    return jnp.maximum(2, jnp.ceil(jnp.sqrt(1 + step * spectral_radius / STABILITY))).astype(int)


def stage_count(step: float, spectral_radius: float) -> int:
    """Return the same, of numbers.

    Examples
    --------
    >>> stage_count(1.0, 653.0)
    32
    """
    return max(2, ceil(sqrt(1 + step * spectral_radius / STABILITY)))


def length_of(count: float) -> float:
    """Return the longest step, times the spectral radius, that so many stages (or 2) can take.

    Examples
    --------
    >>> length_of(32) >= 653.0 > length_of(31)
    True
    """
    return STABILITY * (max(count, 2.0) ** 2 - 1)


class RKC2(diffrax.AbstractAdaptiveSolver[Any]):
    """Runge–Kutta–Chebyshev method of order 2 for `y' = f(t, y)` with a symmetric Jacobian.

    The method is first-same-as-last: a step of `s` stages costs `s` evaluations, the last of them
    at its end. Dense output is cubic Hermite.

    Attributes
    ----------
    spectral_radius
        An upper bound on the magnitude of the eigenvalues of `∂f/∂y`: a number, or a callable
        `(t, y, args) -> number`. The embedded error estimate can vanish just inside the stability
        limit, so it is no substitute for this bound.

    Examples
    --------
    >>> import diffrax, jax.numpy as jnp
    >>> decay = diffrax.ODETerm(lambda t, y, args: -1000.0 * y)
    >>> step = diffrax.ConstantStepSize()
    >>> y = diffrax.diffeqsolve(decay, RKC2(1000.0), 0, 1, 0.1, 1.0, stepsize_controller=step).ys
    >>> bool(abs(y[-1]) < 0.02)  # ten steps, each 50 times longer than Euler's limit
    True
    """

    spectral_radius: float | Array | Callable[[Any, Any, Any], Any]

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    def order(self, terms: Any) -> int:
        """Return 2."""
        return 2

    def error_order(self, terms: Any) -> int:
        """Return 3: the estimate is of the local error of the method itself, not of a lower one."""
        return 3

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any) -> PyTree:
        """Return `f(t0, y0)`."""
        return terms.vf(t0, y0, args)

    def func(self, terms: Any, t0: Any, y0: PyTree, args: Any) -> PyTree:
        """Return `f(t0, y0)`."""
        return terms.vf(t0, y0, args)

    def bound(self, t: Any, y: PyTree, args: Any) -> Array:
        """Return the bound on the spectral radius that a step from `(t, y)` uses."""
        radius = self.spectral_radius
        return jnp.asarray(radius(t, y, args) if callable(radius) else radius)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any, solver_state: Any, made_jump: Any
    ) -> Any:
        """Take one step with as many stages as its length asks for."""
        del made_jump  # a gradient flow does not jump
        flat0, unravel = ravel_pytree(y0)
        f0 = ravel_pytree(solver_state)[0]
        h = t1 - t0

        def field(t: Any, y: Array) -> Evaluated:
            return ravel_pytree(terms.vf(t, unravel(y), args))[0], ()

        count = stages(h, self.bound(t0, y0, args))
        flat1, (f1, _), _ = chebyshev_stages(field, t0, h, flat0, (f0, ()), count, count)
        before, after = ERROR
        error = before * (flat0 - flat1) + after * h * (f0 + f1)
        y1, end = unravel(flat1), unravel(f1)
        dense = {"y0": y0, "y1": y1, "k0": unravel(h * f0), "k1": unravel(h * f1)}
        return y1, unravel(error), dense, end, diffrax.RESULTS.successful


class _Chebyshev(NamedTuple):
    """`T_j(w0)` and its first two derivatives, for two consecutive `j`."""

    previous: tuple[Array, Array, Array]
    current: tuple[Array, Array, Array]

    def next(self, w0: Array) -> "_Chebyshev":
        (a, da, dda), (b, db, ddb) = self
        new = (2 * w0 * b - a, 2 * b + 2 * w0 * db - da, 4 * db + 2 * w0 * ddb - dda)
        return _Chebyshev(self.current, new)


def _chebyshev_start(w0: Array) -> _Chebyshev:
    one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)
    return _Chebyshev((one, zero, zero), (w0, one, zero))


def chebyshev_stages(
    field: Callable[[Any, Array], Evaluated],
    t0: Any,
    h: Any,
    y0: Array,
    begin: Evaluated,
    count: Array,
    evaluations: Array,
) -> tuple[Array, Evaluated, Array]:
    """Return the stage `Y_n`, the field there, and `Y_{n+1}`, after `n` evaluations of the field.

    Of `s = count` stages, in the paper's notation: the step leads to `Y_s`. The field returns `f`
    and whatever is computed along with it; `begin` is that at `(t0, y0)`.
    """
    dtype, (f0, _) = y0.dtype, begin
    h = jnp.asarray(h, dtype)
    w0 = 1 + DAMPING / count.astype(dtype) ** 2
    last = lax.fori_loop(2, count + 1, lambda _, c: c.next(w0), _chebyshev_start(w0))
    w1 = last.current[1] / last.current[2]
    b0 = 1 / (4 * w0**2)  # = b_2 = T_2'' / (T_2')²; the paper sets b_0 = b_2, b_1 = 1 / w0
    b1 = 1 / w0
    # The abscissae obey the recursion of the stages, applied to y' = 1.
    y1, c1 = y0 + b1 * w1 * h * f0, b1 * w1

    def stage(_: Any, carry: Any) -> Any:
        (y_before, c_before, b_before), (y_last, c_last, b_last), t, _ = carry
        t = t.next(w0)
        b = t.current[2] / t.current[1] ** 2
        mu, nu = 2 * b * w0 / b_last, -b / b_before
        mu_f = 2 * b * w1 / b_last
        gamma_f = -(1 - b_last * t.previous[0]) * mu_f
        evaluated = field(t0 + c_last * h, y_last)
        f = evaluated[0]
        y = (1 - mu - nu) * y0 + mu * y_last + nu * y_before + h * (mu_f * f + gamma_f * f0)
        c = mu * c_last + nu * c_before + mu_f + gamma_f
        return (y_last, c_last, b_last), (y, c, b), t, evaluated

    begun = (y0, jnp.zeros((), dtype), b0), (y1, c1, b1), _chebyshev_start(w0), begin
    (y, _, _), (y_next, _, _), _, evaluated = lax.fori_loop(0, evaluations, stage, begun)
    return y, evaluated, y_next
