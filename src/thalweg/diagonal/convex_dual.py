"""Gradient flow of diagonal linear networks in closed form: Newton on a convex dual.

The flow of `L = 1/(2n) ‖X β - y‖²`, `β = u^p - v^p`, depth `p ≥ 2`, moves `u` by
`du = u^(p-1) de` and `v` by `dv = -v^(p-1) de`, with one `e = -p ∫ Xᵀ(Xβ - y)/n dt` in the range
of `Xᵀ`. So

    u = u0∘exp(e),  v = v0∘exp(-e)                                 for p = 2,
    u = (u0^(2-p) - (p-2) e)^(-1/(p-2)),  v likewise with -e        for p > 2 and u0, v0 > 0:

`u∘v`, or `u^(2-p) + v^(2-p)`, is conserved. If every coordinate of `β` can take either sign on the
way (no zero in `u0`, `v0`; for odd depth, no two signs in one coordinate), the flow ends where
`Xᵀ(X β - y) = 0`, whether or not the data can be interpolated. With the thin SVD `X = U S Vᵀ` and
`e = V a` that is the minimum of the convex dual

    g(a) = ½ Σ_j (u_j² + v_j²) - <c, a>,    c = S⁻¹ Uᵀ y,

at every depth, because `d(½ u²) = u^p de`. Its gradient is `Vᵀβ - c` and its Hessian
`Vᵀ diag(p q) V`, `q = u^(2p-2) + v^(2p-2)`: the condition of `X` does not enter the iteration. For
`p > 2` it is defined where the bases of the roots are positive, and infinite on the boundary.
Since `Xᵀr = 0` at the limit, the whole Hessian of `L` there is `JᵀJ/n` with
`J = p X [diag(u^(p-1)), -diag(v^(p-1))]`, even where the residual does not vanish, and its non-zero
eigenvalues are those of `(p²/n) S Vᵀ diag(q) V S`.

Derived for this package; for the models see Kreisler, Shpigel Nacson, Soudry, Carmon, ICML 2023,
arXiv 2305.13064 (depth 2) and Woodworth et al., COLT 2020, arXiv 2002.09277.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import NDArray

A = TypeVar("A", Array, NDArray[Any])
_MAX_ITERATIONS = 200


class DualCoordinates(NamedTuple):
    """The part of the problem that the flow sees, `k = min(n, d)`.

    `vectors` and `values`: right singular vectors and singular values of `X`; `in_rank`: which of
    them count as non-zero; `coefficients`: `c`, zero elsewhere;
    `unfitted`: `‖y - U Uᵀ y‖`, the part of the targets outside the range of `X`.
    """

    vectors: Float[Array, "d k"]
    values: Float[Array, " k"]
    in_rank: Bool[Array, " k"]
    coefficients: Float[Array, " k"]
    unfitted: Float[Array, ""]

    @property
    def range(self) -> Float[Array, "d k"]:
        """Return an orthonormal basis of the range of `Xᵀ`, with zeros off the rank."""
        return jnp.where(self.in_rank[None], self.vectors, 0.0)


class DiagonalLimit(NamedTuple):
    """The limit `u`, `v`, the sharpness there, a bound on its error, a top eigenvector.

    `eigenvector` belongs to the vector `(u, v)`. `iterations` counts Newton's. Everything is
    NaN, and `error` infinite, where the closed form does not apply or numbers overflow.
    """

    u: Float[Array, " d"]
    v: Float[Array, " d"]
    sharpness: Float[Array, ""]
    error: Float[Array, ""]
    eigenvector: Float[Array, " 2*d"]
    iterations: Int[Array, ""]


class _NewtonState(NamedTuple):
    a: Float[Array, " k"]
    length: Float[Array, ""]  # of the last undamped Newton step, as `_lengths` measures it
    iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


def dual_coordinates(x: Float[Array, "n d"], y: Float[Array, " n"]) -> DualCoordinates:
    """Return the thin SVD of `x`, and the targets `y` in its coordinates.

    Singular values at or below `max(n, d) eps` times the largest count as zero, as in
    `numpy.linalg.matrix_rank`: the flow does not move along their vectors.
    """
    left, values, right = jnp.linalg.svd(x, full_matrices=False)
    in_rank = values > max(x.shape) * jnp.finfo(x.dtype).eps * values[0]
    projected = jnp.where(in_rank, left.T @ y, 0.0)
    coefficients = projected / jnp.where(in_rank, values, 1.0)
    unfitted = jnp.linalg.norm(y - left @ projected)
    return DualCoordinates(right.T, values, in_rank, coefficients, unfitted)


def _u_at(start: Float[Array, " d"], e: Float[Array, " d"], depth: int) -> Float[Array, " d"]:
    """Return `u` at `e`, from `start`: NaN or infinite off the domain."""
    if depth == 2:
        return start * jnp.exp(e)
    exponent = depth - 2
    base = 1 - exponent * e * start**exponent
    return start * jnp.where(base > 0, base, jnp.nan) ** (-1 / exponent)


def _uv_at(
    u0: Float[Array, " d"], v0: Float[Array, " d"], e: Float[Array, " d"], depth: int
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    return _u_at(u0, e, depth), _u_at(v0, -e, depth)


def _difference(u: Float[Array, " d"], v: Float[Array, " d"], depth: int) -> Float[Array, " d"]:
    """Return `β = u^p - v^p`."""
    return (u - v) * (u + v) if depth == 2 else u**depth - v**depth


def _weights(u: Float[Array, " d"], v: Float[Array, " d"], depth: int) -> Float[Array, " d"]:
    """Return `q = u^(2p-2) + v^(2p-2)`."""
    return u ** (2 * depth - 2) + v ** (2 * depth - 2)


def _lengths(
    u: Float[Array, " d"], v: Float[Array, " d"], de: Float[Array, " d"], depth: int
) -> Float[Array, " d"]:
    """Return the lengths `p max(|u|, |v|)^(p-2) |Δe|` of changes `Δe`.

    To first order, `β` changes by so many times its size, and `q` by `(2p-2)/p` times as many.
    """
    return depth * jnp.maximum(jnp.abs(u), jnp.abs(v)) ** (depth - 2) * jnp.abs(de)


def _damping(length: Float[Array, ""], depth: int) -> Float[Array, ""]:
    """Return the part of a Newton step that surely decreases the dual, `length = max _lengths`.

    Along the step `q`, and with it the second derivative, grows at most like
    `(1 - t δ (p-2)/p)^-(2p-2)/(p-2)`, `δ` the length, for `p = 2` like `exp(t δ)`. Integrated,
    that keeps the slope negative up to the `t` returned (for `p = 2` known from Sun, Tran-Dinh
    2019, generalised self-concordant functions). No line search is needed, no step leaves the
    domain, and a step that would overflow becomes one of logarithmic length: from initial scale
    `α` at depth two the first is about `log(1/α²)` long, which is right.
    """
    safe = jnp.maximum(length, jnp.finfo(length.dtype).tiny)
    share = (depth - 2) / depth
    growth = jnp.log1p(safe)
    reach = growth if depth == 2 else -jnp.expm1(-share * growth) / share
    return jnp.where(length > 1e-4, reach / safe, 1.0)


def _factor(coordinates: DualCoordinates, weights: Float[Array, " d"]) -> Float[Array, "k k"]:
    """Return the upper triangular `R` with `RᵀR = Vᵀ diag(weights) V`, identity off the rank.

    By QR of `√weights V`, whose condition is the square root of that of the product: at small
    initial scales the weights range over many orders of magnitude.
    """
    rows = jnp.sqrt(weights)[:, None] * coordinates.range
    padding = jnp.diag(jnp.where(coordinates.in_rank, 0.0, 1.0).astype(rows.dtype))
    return jnp.linalg.qr(jnp.concatenate([rows, padding]), mode="r")


def _inverse(factor: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Return `(RᵀR)⁻¹`, column by column.

    One solve for all columns at once is 50 times slower at `k = 50`, on two cores that have other
    work too: OpenBLAS divides that solve, but not those for one column, among threads.
    """

    def column(unit: Float[Array, " k"]) -> Float[Array, " k"]:
        return solve_triangular(factor, solve_triangular(factor, unit, trans=1))

    columns: Array = jax.lax.map(column, jnp.eye(factor.shape[0], dtype=factor.dtype))
    return columns.T


def _start(
    coordinates: DualCoordinates,
    u0: Float[Array, " d"],
    v0: Float[Array, " d"],
    near: tuple[Float[Array, " d"], Float[Array, " d"]],
    depth: int,
) -> Float[Array, " k"]:
    """Return the dual variable of the limit `near` of a neighbour, or 0 if the dual is lower there.

    For the neighbour's limit `(u, v)`, `e` is estimated from the one of `u`, `v` that has grown.
    """
    u, v = near
    if depth == 2:
        e = 0.5 * (jnp.log(jnp.abs(u / u0)) - jnp.log(jnp.abs(v / v0)))
    else:
        exponent = depth - 2
        from_u = (u0**-exponent - u**-exponent) / exponent
        from_v = (v**-exponent - v0**-exponent) / exponent
        e = jnp.where(jnp.abs(u / u0) > jnp.abs(v / v0), from_u, from_v)
    a = coordinates.range.T @ e

    def dual(a: Float[Array, " k"]) -> Float[Array, ""]:
        u, v = _uv_at(u0, v0, coordinates.range @ a, depth)
        return 0.5 * (jnp.vdot(u, u) + jnp.vdot(v, v)) - jnp.vdot(coordinates.coefficients, a)

    return jnp.where(dual(a) < dual(jnp.zeros_like(a)), a, 0.0)  # not where NaN


def _newton(
    coordinates: DualCoordinates,
    u0: Float[Array, " d"],
    v0: Float[Array, " d"],
    near: tuple[Float[Array, " d"], Float[Array, " d"]],
    depth: int,
) -> _NewtonState:
    """Minimise the dual by Newton steps, damped by `_damping`, from `_start`."""
    vectors = coordinates.range
    eps = jnp.finfo(u0.dtype).eps

    def unfinished(state: _NewtonState) -> Bool[Array, ""]:
        going = (state.length > 8 * eps) & ~state.stalled
        return going & (state.iterations < _MAX_ITERATIONS)

    def body(state: _NewtonState) -> _NewtonState:
        u, v = _uv_at(u0, v0, vectors @ state.a, depth)
        gradient = vectors.T @ _difference(u, v, depth) - coordinates.coefficients
        factor = _factor(coordinates, depth * _weights(u, v, depth))
        step = -solve_triangular(factor, solve_triangular(factor, gradient, trans=1))
        length = jnp.max(_lengths(u, v, vectors @ step, depth))
        # Convergence is quadratic there: a step that does not halve is rounding.
        stalled = (length < 1e-4) & (length > 0.5 * state.length) | ~jnp.isfinite(length)
        a = jnp.where(stalled, state.a, state.a + _damping(length, depth) * step)
        return _NewtonState(a, length, state.iterations + 1, stalled)

    start = _NewtonState(
        _start(coordinates, u0, v0, near, depth),
        jnp.asarray(jnp.inf, u0.dtype),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(False),
    )
    return jax.lax.while_loop(unfinished, body, start)


def _exponent_error(
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    coordinates: DualCoordinates,
    e: Float[Array, " d"],
    u: Float[Array, " d"],
    v: Float[Array, " d"],
    depth: int,
) -> Float[Array, " d"]:
    """Return a bound on the errors of `e`, to first order in the perturbation of `c`.

    `δe = V H⁻¹ δc` where `δc` collects the dual's gradient as computed in its own coordinates; the
    same from the data, `S⁻² VᵀXᵀ(Xβ - y)`; the rounding of both; and the SVD's backward error
    `eps σ₁`, which moves `c` as it moves any least-squares solution and turns the range of `Xᵀ`.
    """
    vectors = coordinates.range
    values = jnp.where(coordinates.in_rank, coordinates.values, 1.0)
    eps = jnp.finfo(e.dtype).eps * (8 + sum(x.shape) ** 0.5)
    beta = _difference(u, v, depth)
    sizes = jnp.abs(u) ** depth + jnp.abs(v) ** depth
    c = coordinates.coefficients
    gradient = vectors.T @ beta - c
    from_data = (vectors.T @ (x.T @ (x @ beta - y))) / values**2
    condition = jnp.where(coordinates.in_rank, coordinates.values[0] / values, 0.0)
    rounding = (
        jnp.abs(vectors).T @ (sizes * (1 + _lengths(u, v, e, depth)))
        + jnp.abs(c)
        + condition * (jnp.linalg.norm(beta) + condition * coordinates.unfitted / values[0])
    )
    uncertain = jnp.where(
        coordinates.in_rank, jnp.abs(gradient) + jnp.abs(from_data) + eps * rounding, 0.0
    )
    factor = _factor(coordinates, depth * _weights(u, v, depth))
    response = jnp.abs(vectors @ _inverse(factor))  # |V H⁻¹|, (d, k)
    turned = eps * jnp.max(condition) * jnp.linalg.norm(e)
    bound: Array = response @ uncertain + turned + eps * jnp.abs(e)
    return bound


def solve(
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    coordinates: DualCoordinates,
    u0: Float[Array, " d"],
    v0: Float[Array, " d"],
    near: tuple[Float[Array, " d"], Float[Array, " d"]],
    depth: int,
) -> DiagonalLimit:
    """Return the limit of the flow from `u0`, `v0` for the data `x`, `y`.

    Traceable. `coordinates` is `dual_coordinates(x, y)`; `near` is the limit `(u, v)` of a
    neighbour, or `(u0, v0)` where none is known: it is a matter of speed alone.
    """
    state = _newton(coordinates, u0, v0, near, depth)
    e = coordinates.range @ state.a
    u, v = _uv_at(u0, v0, e, depth)
    weights = _weights(u, v, depth)
    scaled = coordinates.vectors * coordinates.values[None]  # V S

    def compressed(weights: Float[Array, " d"]) -> Float[Array, "k k"]:
        return (depth**2 / x.shape[0]) * (scaled.T @ (weights[:, None] * scaled))

    exists = jnp.all(has_closed_form(u0, v0, depth)) & jnp.all(jnp.isfinite(weights))
    matrix = compressed(weights)
    exists = exists & jnp.all(jnp.isfinite(matrix))
    eigenvalues, eigenvectors = jnp.linalg.eigh(jnp.where(exists, matrix, 0.0))
    direction = scaled @ eigenvectors[:, -1]
    eigenvector = jnp.concatenate([u ** (depth - 1) * direction, -(v ** (depth - 1)) * direction])
    sharpness = eigenvalues[-1]

    # λ is monotone in `weights`: changing them by δ changes it by at most λ of `compressed(δ)`,
    # and that is no more than the Frobenius norm.
    error_e = _exponent_error(x, y, coordinates, e, u, v, depth)
    relative = (2 * depth - 2) / depth * _lengths(u, v, error_e, depth) + state.length**2
    change = compressed(weights * jnp.expm1(jnp.where(relative < 0.3, relative, 0.0)))
    spread = jnp.linalg.norm(jnp.where(jnp.all(jnp.isfinite(change)), change, 0.0))
    eps = jnp.finfo(x.dtype).eps
    error = 1.5 * spread + 8 * eps * (sum(x.shape) ** 0.5) * sharpness
    known = exists & jnp.all(relative < 0.3)  # false for NaN too
    nan = jnp.asarray(jnp.nan, x.dtype)
    return DiagonalLimit(
        u=jnp.where(exists, u, nan),
        v=jnp.where(exists, v, nan),
        sharpness=jnp.where(exists, sharpness, nan),
        error=jnp.where(known, error, jnp.inf),
        eigenvector=jnp.where(exists, eigenvector / jnp.linalg.norm(eigenvector), nan),
        iterations=state.iterations,
    )


def has_closed_form(u0: A, v0: A, depth: int) -> A:
    """Return, for each coordinate, whether `u^p - v^p` can take either sign on its way, `(d,)`.

    Zeros stay zero. At odd depth a negative `u_j` contributes negatively, as `v_j` does if it is
    positive: then `β_j` stays negative, and the flow may creep towards a saddle for ever.
    """
    same_sign: A = (u0 > 0) == (v0 > 0)
    not_zero: A = (u0 != 0) & (v0 != 0)
    return not_zero if depth % 2 == 0 else not_zero & same_sign
