"""The limit of the linearised flow: one linear solve in place of the flow's long, linear tail.

From a point `w` near a minimum the flow is nearly linear, and the linear flow ends at the point of
`w + range(H)` where the gradient vanishes. Its error is about quadratic in its length, so it is
taken late, and more than once: the change of the sharpness between two limits tells the error.

Two forms. With residuals that can be made zero it is the minimum-norm Gauss–Newton step
`w - Jᵀ (J Jᵀ)⁻¹ r`, by conjugate gradients in residual space, where a kernel between samples
preconditions. Otherwise it is the Newton step `w - H⁺ ∇L` by conjugate gradients on `H`.

`lineax.CG` does not fit: it also asks for convergence in the units of the solution, element by
element, which the ill-conditioned `J Jᵀ` reaches hundreds of iterations later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.step import value_and_gradient
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import (
    array_module,
    hessian_product,
    norm,
    residual_products,
    sample_kernel,
)

Vector = Any  # of NumPy or of JAX, shape `(p,)` or `(m,)`


class LinearizedLimit(NamedTuple):
    """The limit of the linearised flow.

    `length` is its distance from the start; `misfit` is how far, relatively, the fall of the loss
    was from the fall `-½ ∇L·δ` that the linear model predicts. `iterations` counts products with
    `J Jᵀ` or `H`. `solved` is false where the iterations ran out or met negative curvature.
    """

    w: Array
    loss: float
    length: float
    misfit: float
    iterations: int
    solved: bool

    @property
    def is_useful(self) -> bool:
        """Whether the linear system was solved and its model predicted the loss at its end."""
        return self.solved and self.predicts

    @property
    def predicts(self) -> bool:
        """Whether the linear model predicted the loss at its end."""
        return self.misfit < 0.5


@dataclass(frozen=True)
class LinearizedSolver:
    """The limit of the linearised flow with no choice left to make: so many iterations.

    `by_residuals` tells the Gauss–Newton step, preconditioned by `inverse`, from the Newton step.
    """

    by_residuals: bool
    inverse: Array | None
    iterations: int = 0

    @property
    def work_of_iteration(self) -> float:
        """The work of one iteration, in units of one gradient."""
        return 2 * COST.jacobian_product if self.by_residuals else COST.hessian_product

    def work_of(self, limit: LinearizedLimit) -> float:
        """Return the work that a limit took."""
        return self.work_of_iteration * (limit.iterations + 1) + 2 * COST.loss

    def limit(
        self, problem: FlatProblem, w: Array, tolerance: float, max_iterations: int
    ) -> LinearizedLimit:
        """Return the limit of the flow linearised at `w`, up to a relative residual."""
        if self.by_residuals:
            return gauss_newton_limit(self.inverse, problem, w, tolerance, max_iterations)
        return newton_limit(problem, w, tolerance, max_iterations)

    def __call__(self, problem: FlatProblem, w: Array) -> LinearizedLimit:
        """Return the limit of the flow linearised at `w`, whatever its residual."""
        return self.limit(problem, w, 0.0, self.iterations)


def conjugate_gradients(
    product: Callable[[Vector], Vector],
    b: Vector,
    precondition: Callable[[Vector], Vector],
    tolerance: float,
    max_iterations: int,
) -> tuple[Vector, int, bool]:
    """Solve `A x = b` for positive semidefinite `A` until `‖b - A x‖ ≤ tolerance ‖b‖`.

    Vectors are NumPy's or JAX's. Returns `x`, the iterations, and whether that was reached: not
    where they ran out, or where a search direction had no positive curvature.

    Examples
    --------
    >>> a, b = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([3.0, 3.0])
    >>> conjugate_gradients(lambda v: a @ v, b, lambda v: v, 1e-9, 9)
    (array([1., 1.]), 1, True)
    """
    x, r = 0.0 * b, b
    z = p = precondition(r)
    rz, target, iterations = float(r @ z), tolerance * norm(b), 0
    while norm(r) > target and iterations < max_iterations:
        image = product(p)
        curvature = float(p @ image)
        iterations += 1
        if not curvature > 0:
            break
        alpha = rz / curvature
        x, r = x + alpha * p, r - alpha * image
        z = precondition(r)
        rz, before = float(r @ z), rz
        p = z + rz / before * p
    return x, iterations, norm(r) <= target


def factor_kernel(problem: FlatProblem, w: Array) -> Array | None:
    """Return the inverse of the kernel between samples at `w`, slightly shifted, or `None`."""
    kernel = sample_kernel(problem, w)
    if kernel is None:
        return None
    xp, n = array_module(kernel), kernel.shape[0]
    # Formed in single precision: eigenvalues below about 1e-6 of the mean one are rounding.
    shift = 1e-6 * float(jnp.trace(kernel)) / n + float(jnp.finfo(kernel.dtype).tiny)
    shifted = xp.asarray(kernel) + xp.asarray(shift * np.eye(n), kernel.dtype)
    return jnp.asarray(xp.linalg.inv(shifted))


def kernel_cost(inverse: Array | None) -> float:
    """Return the work of `factor_kernel` in units of one gradient."""
    return 0.0 if inverse is None else 1.0 + inverse.shape[0] / 3


def gauss_newton_limit(
    inverse: Array | None, problem: FlatProblem, w: Array, tolerance: float, max_iterations: int
) -> LinearizedLimit:
    """Return `w - Jᵀ (J Jᵀ)⁻¹ r`, with `inverse ⊗ I` as preconditioner where there is one."""
    xp, zero = array_module(w), jnp.zeros(problem.residual_count(w), w.dtype)
    r = residual_products(problem, w, zero)[0]
    factor = None if inverse is None else xp.asarray(inverse)

    def product(u: Vector) -> Vector:
        return xp.asarray(residual_products(problem, w, u)[2])

    def precondition(u: Vector) -> Vector:
        return u if factor is None else (factor @ u.reshape(len(factor), -1)).ravel()

    psi, iterations, solved = conjugate_gradients(
        product, xp.asarray(r), precondition, tolerance, max_iterations
    )
    delta = -residual_products(problem, w, psi)[1]
    return _limit(problem, w, value_and_gradient(problem, w), delta, iterations, solved)


def newton_limit(
    problem: FlatProblem, w: Array, tolerance: float, max_iterations: int
) -> LinearizedLimit:
    """Return `w - H⁺ ∇L`, the point of `w + range(H)` where the linearised gradient vanishes."""
    xp, here = array_module(w), value_and_gradient(problem, w)

    def product(v: Vector) -> Vector:
        return xp.asarray(hessian_product(problem, w, v))

    delta, iterations, solved = conjugate_gradients(
        product, xp.asarray(-here[1]), lambda v: v, tolerance, max_iterations
    )
    return _limit(problem, w, here, jnp.asarray(delta), iterations, solved)


def _limit(
    problem: FlatProblem,
    w: Array,
    here: tuple[Array, Array],
    delta: Array,
    iterations: int,
    solved: bool,
) -> LinearizedLimit:
    value, gradient = here
    before, after = float(value), float(value_and_gradient(problem, w + delta)[0])
    predicted = -0.5 * float(jnp.vdot(gradient, delta))
    # Where the fall is below the rounding of the loss itself, nothing contradicts the model.
    rounding = 16 * float(jnp.finfo(w.dtype).eps) * abs(before)
    excess = max(abs(before - after - predicted) - rounding, 0.0)
    misfit = excess / abs(predicted) if predicted else nan
    return LinearizedLimit(w + delta, after, norm(delta), misfit, iterations, solved)
