"""Gradient flow of a scalar network in closed form, for one start or millions.

`L(w) = ½ (π(w) - y)²`, `π(w) = w_1 ⋯ w_D`, `y > 0`. The flow conserves `w_i² - w_j²`. With `m` the
coordinate of smallest magnitude and the balances `b_i = w_i² - w_m² ≥ 0`, its limit has
`S_i² = x + b_i`, where `x > 0` is the one root of `Σ log(x + b_i) = 2 log y`. All coordinates keep
their signs but `m`, which crosses zero where the product of the signs is negative. Where two or
more coordinates then tie for the smallest magnitude, or vanish at the start, the flow ends in a
saddle. At a minimum the Hessian is `∇π ∇πᵀ`, so that the sharpness is `y² Σ 1/(x + b_i)`.

Everything is done in logarithms: for strongly unbalanced starts `x` underflows while `log x` is
ordinary. Idea of gradient flow solutions for these networks: Kreisler, Shpigel Nacson, Soudry,
Carmon, ICML 2023, arXiv 2305.13064; the formulas were derived for this package.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from thalweg.scalar.calls import fill

_MAX_ITERATIONS = 100
_CHUNKS_PER_CALL = 32


class ScalarLimits(NamedTuple):
    """Where gradient flow ends, for one start (shapes `(D,)` and `()`) or many (`(N, D)`, `(N,)`).

    Attributes
    ----------
    limit
        `S(w)`: a global minimum, or the saddle that the flow runs into.
    sharpness, log_sharpness
        The top eigenvalue `λ` of the Hessian there, and its logarithm, which stays finite where
        `λ` overflows. At a saddle this is not the sharpness of a gradient flow solution.
    error
        Bound on `|sharpness - λ|` from the residual of the root and from rounding; infinite where
        `sharpness` overflows.
    is_saddle
        Whether the flow ends in a saddle.
    iterations
        Newton iterations (of the slowest start of the chunk, where starts are solved together).
    """

    limit: Any
    sharpness: Any
    log_sharpness: Any
    error: Any
    is_saddle: Any
    iterations: Any


class _Start(NamedTuple):
    """What the flow conserves, and its branch. Coordinates first."""

    log_balances: Float[Array, " depth *starts"]
    rounding: Float[Array, " depth *starts"]  # bound on the absolute errors of log_balances
    signs: Float[Array, " depth *starts"]  # of the limit, ±1
    is_smallest: Bool[Array, " depth *starts"]
    ties: Int[Array, "*starts"]  # how many coordinates have the smallest magnitude
    log_smallest: Float[Array, "*starts"]
    is_saddle: Bool[Array, "*starts"]


class _Evaluation(NamedTuple):
    """`F(s) = Σ log(e^s + b_i) - 2 log y` and what goes with it, at one `s = log x`."""

    log_larger: Float[Array, " depth *starts"]  # log max(x, b_i)
    ratio: Float[Array, " depth *starts"]  # min(x, b_i) / max(x, b_i): x + b_i = larger (1 + ratio)
    shares: Float[Array, " depth *starts"]  # x / (x + b_i)
    value: Float[Array, "*starts"]
    slope: Float[Array, "*starts"]  # F'(s) = Σ shares, in [1, D]


def _prepare(w: Float[Array, " depth *starts"]) -> _Start:
    magnitude = jnp.abs(w)
    smallest = jnp.min(magnitude, axis=0)
    is_smallest = magnitude == smallest[None]
    # (a - m)(a + m) does not cancel as a² - m² does; halves do not overflow.
    log_difference = jnp.log(magnitude - smallest[None])
    log_sum = jnp.log(0.5 * magnitude + 0.5 * smallest[None]) + math.log(2.0)
    log_balances = log_difference + log_sum
    eps = jnp.finfo(w.dtype).eps
    rounding = eps * (4 + jnp.abs(log_difference) + 2 * jnp.abs(log_sum))
    old_signs = jnp.where(w < 0, -1, 1).astype(w.dtype)
    negative = jnp.prod(old_signs, axis=0) < 0
    ties = jnp.sum(is_smallest, axis=0)
    return _Start(
        log_balances=log_balances,
        rounding=jnp.where(is_smallest, 0.0, rounding),
        signs=jnp.where(is_smallest & negative[None], -old_signs, old_signs),
        is_smallest=is_smallest,
        ties=ties,
        log_smallest=jnp.log(smallest),
        is_saddle=(ties > 1) & (negative | (smallest == 0)),
    )


def _evaluate(
    log_balances: Float[Array, " depth *starts"],
    log_target: Float[Array, ""],
    s: Float[Array, "*starts"],
) -> _Evaluation:
    # x + b = larger (1 + ratio): neither x nor b is ever formed.
    gap = log_balances - s[None]
    log_larger = jnp.maximum(log_balances, s[None])
    ratio = jnp.exp(-jnp.abs(gap))
    shares = jnp.where(gap > 0, ratio, 1.0) / (1 + ratio)
    value = jnp.sum(log_larger, axis=0) + _log_product(1 + ratio) - 2 * log_target
    return _Evaluation(log_larger, ratio, shares, value, jnp.sum(shares, axis=0))


def _log_product(factors: Float[Array, " depth *starts"]) -> Float[Array, "*starts"]:
    """Return `Σ log factors` over the first axis, for factors in [1, 2]: one logarithm for many.

    It takes most of the time otherwise. Products of 100 such factors fit every floating type.
    """
    groups = range(0, factors.shape[0], 100)
    return sum(jnp.log(jnp.prod(factors[i : i + 100], axis=0)) for i in groups)  # type: ignore[return-value]


def _root(
    start: _Start, log_target: Float[Array, ""]
) -> tuple[Float[Array, "*starts"], Int[Array, ""]]:
    """Return `s = log x` with `F(s) = 0`, and the number of Newton iterations.

    `F` is convex and increasing: from anywhere, Newton's first step lands at or above the root and
    the others descend to it, so no safeguard is needed but the bound `D s ≤ 2 log y`. Because
    `F'' ≤ F'`, a step `δ` leaves an error of at most `δ²/2`.
    """
    depth = start.log_balances.shape[0]
    upper = 2 * log_target / depth
    enough = 0.5 * jnp.sqrt(jnp.finfo(start.log_balances.dtype).eps)

    def newton(s: Float[Array, "*starts"]) -> Float[Array, "*starts"]:
        at = _evaluate(start.log_balances, log_target, s)
        return s - at.value / at.slope

    # Starting at w_m² itself is good close to a minimum; it is -∞ where w_m = 0.
    first = newton(2 * start.log_smallest)
    first = jnp.where(jnp.isfinite(first), jnp.minimum(first, upper), upper)

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, step, i = carry
        return jnp.any(jnp.abs(step) > enough) & (i < _MAX_ITERATIONS)

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        s, _, i = carry
        new = newton(s)
        return new, new - s, i + 1

    s, _, iterations = jax.lax.while_loop(
        unfinished, body, (first, jnp.full_like(first, jnp.inf), jnp.asarray(1, jnp.int32))
    )
    return s, iterations


def _relative_error(
    start: _Start, at: _Evaluation, s: Float[Array, "*starts"], log_target: Float[Array, ""]
) -> Float[Array, "*starts"]:
    """Return a bound on `|λ/λ_true - 1|` for `λ = y² F'(s) / e^s`.

    The computed `F` is off by the rounding of its terms, of their sum and of the balances; the
    root by that plus the residual, divided by the slope; and `|∂ log λ/∂s| ≤ 1`. The slope itself
    moves by at most the relative error of the balances. Where the bound is not small the
    linearisation says nothing: infinite.
    """
    depth = at.shares.shape[0]
    eps = jnp.finfo(s.dtype).eps
    terms = jnp.sum(2 + jnp.abs(at.log_larger), axis=0) + 4 * jnp.abs(log_target)
    balances = jnp.sum((1 - at.shares) * start.rounding, axis=0)
    root = (jnp.abs(at.value) + (depth + 3) * eps * terms + balances) / at.slope
    direct = jnp.max(jnp.where(at.shares > 0, start.rounding, 0.0), axis=0)
    final = eps * (depth + 8 + 4 * jnp.abs(log_target) + 2 * jnp.abs(s))
    bound = 1.25 * (root + direct + final)
    return jnp.where(bound < 0.1, bound, jnp.inf)


def _log_saddle_sharpness(
    start: _Start, log_target: Float[Array, ""]
) -> tuple[Float[Array, "*starts"], Float[Array, "*starts"]]:
    """Return the logarithm of `λ` at the saddle, and a bound on its error.

    Where `k` coordinates vanish, the Hessian is `-y ∇²π`; for `k = 2` it has the one pair of
    entries `-y P`, `P` the product of the others, so `λ = y |P|`; for `k > 2` it is zero.
    """
    logs = jnp.where(start.is_smallest, 0.0, start.log_balances)
    total = log_target + 0.5 * jnp.sum(logs, axis=0)
    eps = jnp.finfo(logs.dtype).eps
    depth = logs.shape[0]
    size = 4 + jnp.abs(log_target) + jnp.sum(jnp.abs(logs), axis=0)
    error = jnp.sum(start.rounding, axis=0) + (depth + 3) * eps * size
    return jnp.where(start.ties == 2, total, -jnp.inf), error


def solve_coordinates_first(
    w: Float[Array, " depth *starts"], target: Float[Array, ""]
) -> ScalarLimits:
    """Return the flow's limit from the start(s) `w`: traceable; NaN or infinity gives NaN."""
    log_target = jnp.log(target)
    start = _prepare(w)
    s, iterations = _root(start, log_target)
    at = _evaluate(start.log_balances, log_target, s)
    saddle_log, saddle_error = _log_saddle_sharpness(start, log_target)
    log_sharpness = jnp.where(start.is_saddle, saddle_log, 2 * log_target - s + jnp.log(at.slope))
    relative = jnp.where(start.is_saddle, saddle_error, _relative_error(start, at, s, log_target))
    log_limit = jnp.where(start.is_saddle[None], start.log_balances, at.log_larger)
    factor = jnp.where(start.is_saddle[None], 1.0, jnp.sqrt(1 + at.ratio))
    sharpness = jnp.exp(log_sharpness)
    tiny = jnp.finfo(w.dtype).tiny  # below it numbers lose digits or are flushed to zero
    return ScalarLimits(
        limit=start.signs * jnp.exp(0.5 * log_limit) * factor,
        sharpness=sharpness,
        log_sharpness=log_sharpness,
        error=jnp.where(jnp.isfinite(sharpness), sharpness * relative + tiny, jnp.inf),
        is_saddle=start.is_saddle,
        iterations=iterations,
    )


@partial(jax.jit, static_argnums=2)
def _solve_call(
    ws: Float[Array, "starts depth"], target: Float[Array, ""], chunk: int
) -> ScalarLimits:
    """Solve `(chunks * chunk, D)` starts, one chunk after the other."""

    def one(starts: Float[Array, "chunk depth"]) -> ScalarLimits:
        found = solve_coordinates_first(starts.T, target)
        iterations = jnp.broadcast_to(found.iterations, found.sharpness.shape)
        return found._replace(limit=found.limit.T, iterations=iterations)

    found = jax.lax.map(one, ws.reshape(-1, chunk, ws.shape[1]))
    return ScalarLimits(*(a.reshape(ws.shape[0], *a.shape[2:]) for a in found))


def solve_chunks(
    ws: np.ndarray, target: float, chunk: int, report: Callable[[int], None] | None = None
) -> ScalarLimits:
    """Solve the starts `ws`, shape `(N, D)`, in chunks: see `ScalarNetwork.flow_limits`."""
    dtype = jax.dtypes.canonicalize_dtype(ws.dtype if ws.dtype == np.float32 else np.float64)
    number, depth = ws.shape
    chunk = max(1, min(chunk, number))
    block = chunk * min(_CHUNKS_PER_CALL, max(1, -(-number // chunk)))
    out = ScalarLimits(
        np.empty((number, depth), dtype),
        *(np.empty(number, kind) for kind in (dtype, dtype, dtype, np.bool_, np.int32)),
    )
    y = np.asarray(target, dtype)

    def solve(first: int) -> ScalarLimits:
        part = ws[first : first + block].astype(dtype, copy=False)
        missing = block - len(part)
        padded = np.concatenate([part, np.ones((missing, depth), dtype)]) if missing else part
        limits: ScalarLimits = _solve_call(padded, y, chunk)
        return limits

    fill(out, solve, block, report)
    return out
