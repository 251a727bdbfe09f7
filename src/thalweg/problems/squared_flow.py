"""Gradient flow of squared regression in closed form: Newton on a convex dual.

The flow of `L = 1/(2n) ‖X (u∘u - v∘v) - y‖²` moves `u = u0∘exp(e)`, `v = v0∘exp(-e)` with `e` in
the range of `Xᵀ`, and ends where `Xᵀ(X β - y) = 0`, `β = u∘u - v∘v`, whether or not the data can
be interpolated, if no coordinate of `u0`, `v0` is zero. With the thin SVD `X = U S Vᵀ` and
`e = V a` that is the minimum of the convex dual

    g(a) = ½ Σ_j (u0_j² exp(2 e_j) + v0_j² exp(-2 e_j)) - <c, a>,    c = S⁻¹ Uᵀ y,

whose gradient is `Vᵀβ - c` and whose Hessian is `Vᵀ diag(2 (u² + v²)) V`: the condition of `X`
does not enter the iteration. Since `Xᵀr = 0` at the limit, the Hessian of `L` there is `JᵀJ/n`
with `J = 2 X [diag(u), -diag(v)]`, and its non-zero eigenvalues are those of
`(4/n) S Vᵀ diag(u² + v²) V S`. Derived for this package; the model is from Kreisler,
Shpigel Nacson, Soudry, Carmon, ICML 2023, arXiv 2305.13064.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

_MAX_ITERATIONS = 200


class DualCoordinates(NamedTuple):
    """The part of the problem that the flow sees, `k = min(n, d)`.

    `vectors` (d, k) and `values` (k,): right singular vectors and singular values of `X`;
    `in_rank` (k,): which of them count as non-zero; `coefficients` (k,): `c`, zero elsewhere;
    `unfitted`: `‖y - U Uᵀ y‖`, the part of the targets outside the range of `X`.
    """

    vectors: Array
    values: Array
    in_rank: Array
    coefficients: Array
    unfitted: Array


class SquaredLimit(NamedTuple):
    """The limit `u`, `v` (d,), the sharpness there, a bound on its error, a top eigenvector.

    `eigenvector` (2d,) belongs to the vector `(u, v)`. `iterations` counts Newton's. Everything is
    NaN, and `error` infinite, where a coordinate of the start is zero or numbers overflow.
    """

    u: Array
    v: Array
    sharpness: Array
    error: Array
    eigenvector: Array
    iterations: Array


class _State(NamedTuple):
    a: Array
    length: Array  # of the last undamped Newton step: max |2 Δe|
    iterations: Array
    stalled: Array


def dual_coordinates(x: Array, y: Array) -> DualCoordinates:
    """Return the thin SVD of `x`, shape `(n, d)`, and the targets `y`, `(n,)`, in its coordinates.

    Singular values at or below `max(n, d) eps` times the largest count as zero, as in
    `numpy.linalg.matrix_rank`: the flow does not move along their vectors.
    """
    left, values, right = jnp.linalg.svd(x, full_matrices=False)
    in_rank = values > max(x.shape) * jnp.finfo(x.dtype).eps * values[0]
    projected = jnp.where(in_rank, left.T @ y, 0.0)
    coefficients = projected / jnp.where(in_rank, values, 1.0)
    unfitted = jnp.linalg.norm(y - left @ projected)
    return DualCoordinates(right.T, values, in_rank, coefficients, unfitted)


def _factor(vectors: Array, in_rank: Array, weights: Array) -> Array:
    """Return the upper triangular `R` with `RᵀR = Vᵀ diag(weights) V`, identity off the rank.

    By QR of `√weights V`, whose condition is the square root of that of the product: at small
    initial scales the weights range over many orders of magnitude.
    """
    rows = jnp.sqrt(weights)[:, None] * vectors
    padding = jnp.diag(jnp.where(in_rank, 0.0, 1.0).astype(rows.dtype))
    return jnp.linalg.qr(jnp.concatenate([rows, padding]), mode="r")


def _solve_factored(factor: Array, right: Array) -> Array:
    return solve_triangular(factor, solve_triangular(factor, right, trans=1))


def _newton(coordinates: DualCoordinates, u0: Array, v0: Array) -> _State:
    """Minimise the dual by Newton steps damped by `log(1 + δ)/δ`, `δ = max |2 Δe|`.

    The third derivative of the dual along any `h` is at most `δ(h)` times the second, so this
    damping decreases the dual from anywhere, without a line search (Sun, Tran-Dinh 2019,
    generalised self-concordant functions), and turns an overflowing step into one of logarithmic
    length: from initial scale `α` the first step is about `log(1/α²)` long, which is right.
    """
    vectors = jnp.where(coordinates.in_rank[None], coordinates.vectors, 0.0)
    eps = jnp.finfo(u0.dtype).eps

    def unfinished(state: _State) -> Array:
        going = (state.length > 8 * eps) & ~state.stalled
        return going & (state.iterations < _MAX_ITERATIONS)

    def body(state: _State) -> _State:
        e = vectors @ state.a
        u, v = u0 * jnp.exp(e), v0 * jnp.exp(-e)
        gradient = vectors.T @ ((u - v) * (u + v)) - coordinates.coefficients
        step = -_solve_factored(
            _factor(vectors, coordinates.in_rank, 2 * (u * u + v * v)), gradient
        )
        length = jnp.max(jnp.abs(2 * (vectors @ step)))
        safe = jnp.maximum(length, jnp.finfo(length.dtype).tiny)
        damping = jnp.where(length > 1e-4, jnp.log1p(safe) / safe, 1.0)
        # Convergence is quadratic there: a step that does not halve is rounding.
        stalled = (length < 1e-4) & (length > 0.5 * state.length) | ~jnp.isfinite(length)
        a = jnp.where(stalled, state.a, state.a + damping * step)
        return _State(a, length, state.iterations + 1, stalled)

    start = _State(
        jnp.zeros_like(coordinates.coefficients),
        jnp.asarray(jnp.inf, u0.dtype),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(False),
    )
    return jax.lax.while_loop(unfinished, body, start)


def _exponent_error(
    x: Array, y: Array, coordinates: DualCoordinates, e: Array, u: Array, v: Array
) -> Array:
    """Return a bound `(d,)` on the errors of `e`, to first order in the perturbation of `c`.

    `δe = V H⁻¹ δc` where `δc` collects the dual's gradient as computed in its own coordinates; the
    same from the data, `S⁻² VᵀXᵀ(Xβ - y)`; the rounding of both; and the SVD's backward error
    `eps σ₁`, which moves `c` as it moves any least-squares solution and turns the range of `Xᵀ`.
    """
    vectors = jnp.where(coordinates.in_rank[None], coordinates.vectors, 0.0)
    values = jnp.where(coordinates.in_rank, coordinates.values, 1.0)
    eps = jnp.finfo(e.dtype).eps * (8 + sum(x.shape) ** 0.5)
    squares, beta = u * u + v * v, (u - v) * (u + v)
    c = coordinates.coefficients
    gradient = vectors.T @ beta - c
    from_data = (vectors.T @ (x.T @ (x @ beta - y))) / values**2
    condition = jnp.where(coordinates.in_rank, coordinates.values[0] / values, 0.0)
    rounding = (
        jnp.abs(vectors).T @ (squares * (1 + jnp.abs(e)))
        + jnp.abs(c)
        + condition * (jnp.linalg.norm(beta) + condition * coordinates.unfitted / values[0])
    )
    uncertain = jnp.where(
        coordinates.in_rank, jnp.abs(gradient) + jnp.abs(from_data) + eps * rounding, 0.0
    )
    factor = _factor(vectors, coordinates.in_rank, 2 * squares)
    response = jnp.abs(_solve_factored(factor, vectors.T)).T  # |V H⁻¹|, (d, k)
    turned = eps * jnp.max(condition) * jnp.linalg.norm(e)
    return response @ uncertain + turned + eps * jnp.abs(e)


def solve(x: Array, y: Array, coordinates: DualCoordinates, u0: Array, v0: Array) -> SquaredLimit:
    """Return the limit of the flow from `u0`, `v0`, shape `(d,)`, for the data `x`, `y`.

    Traceable. `coordinates` is `dual_coordinates(x, y)`.
    """
    state = _newton(coordinates, u0, v0)
    vectors = jnp.where(coordinates.in_rank[None], coordinates.vectors, 0.0)
    e = vectors @ state.a
    u, v = u0 * jnp.exp(e), v0 * jnp.exp(-e)
    squares = u * u + v * v
    scaled = coordinates.vectors * coordinates.values[None]  # V S

    def compressed(weights: Array) -> Array:
        return (4 / x.shape[0]) * (scaled.T @ (weights[:, None] * scaled))

    exists = jnp.all((u0 != 0) & (v0 != 0)) & jnp.all(jnp.isfinite(squares))
    matrix = compressed(squares)
    exists = exists & jnp.all(jnp.isfinite(matrix))
    eigenvalues, eigenvectors = jnp.linalg.eigh(jnp.where(exists, matrix, 0.0))
    direction = scaled @ eigenvectors[:, -1]
    eigenvector = jnp.concatenate([u * direction, -v * direction])
    sharpness = eigenvalues[-1]

    # λ is monotone in `squares`: changing them by δ changes it by at most λ of `compressed(δ)`.
    error_e = 2 * _exponent_error(x, y, coordinates, e, u, v) + state.length**2
    change = compressed(squares * jnp.expm1(jnp.where(error_e < 0.3, error_e, 0.0)))
    change = jnp.where(jnp.all(jnp.isfinite(change)), change, 0.0)
    spread = jnp.linalg.eigvalsh(change)[-1]
    eps = jnp.finfo(x.dtype).eps
    error = 1.5 * spread + 8 * eps * (sum(x.shape) ** 0.5) * sharpness
    known = exists & jnp.all(error_e < 0.3)  # false for NaN too
    nan = jnp.asarray(jnp.nan, x.dtype)
    return SquaredLimit(
        u=jnp.where(exists, u, nan),
        v=jnp.where(exists, v, nan),
        sharpness=jnp.where(exists, sharpness, nan),
        error=jnp.where(known, error, jnp.inf),
        eigenvector=jnp.where(exists, eigenvector / jnp.linalg.norm(eigenvector), nan),
        iterations=state.iterations,
    )
