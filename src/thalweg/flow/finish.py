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
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled


class LinearLimit(NamedTuple):
    """The limit of the linearised flow.

    `length` is its distance from the start; `misfit` is how far, relatively, the fall of the loss
    was from the fall `-½ ∇L·δ` that the linear model predicts. `iterations` counts products with
    `J Jᵀ` or `H`. `solved` is false where the iterations ran out or met negative curvature.
    """

    w: Array
    loss: Array
    length: Array
    misfit: Array
    iterations: Array
    solved: Array

    @property
    def is_useful(self) -> bool:
        """Whether the linear system was solved and its model predicted the loss at its end."""
        return bool(self.solved & (self.misfit < 0.5))


@dataclass(frozen=True)
class Finish:
    """The limit of the linearised flow with no choice left to make: so many iterations.

    `by_residuals` tells the Gauss–Newton step, preconditioned by `inverse`, from the Newton step.
    """

    by_residuals: bool
    inverse: Array | None
    iterations: Array

    @property
    def work_of_iteration(self) -> float:
        """The work of one iteration, in units of one gradient."""
        return 2 * COST.jacobian_product if self.by_residuals else COST.hessian_product

    def __call__(self, problem: FlatProblem, w: Array) -> LinearLimit:
        """Return the limit of the flow linearised at `w`, whatever its residual."""
        never = jnp.zeros((), w.dtype)
        if self.by_residuals:
            return gauss_newton_limit(self.inverse, problem, w, never, self.iterations)
        return newton_limit(problem, w, never, self.iterations)


def conjugate_gradients(
    product: Callable[[Array], Array],
    b: Array,
    precondition: Callable[[Array], Array],
    tolerance: Array,
    max_iterations: Array,
) -> tuple[Array, Array, Array]:
    """Solve `A x = b` for positive semidefinite `A` until `‖b - A x‖ ≤ tolerance ‖b‖`.

    Returns `x`, the iterations, and whether that was reached: not where they ran out, or where a
    search direction had no positive curvature.
    """
    target = tolerance * jnp.linalg.norm(b)

    def unfinished(carry: Any) -> Any:
        _, r, _, _, k, positive = carry
        return (jnp.linalg.norm(r) > target) & (k < max_iterations) & positive

    def iterate(carry: Any) -> Any:
        x, r, p, rz, k, _ = carry
        image = product(p)
        curvature = jnp.vdot(p, image)
        positive = curvature > 0
        alpha = jnp.where(positive, rz / jnp.where(positive, curvature, 1.0), 0.0)
        x, r = x + alpha * p, r - alpha * image
        z = precondition(r)
        rz_next = jnp.vdot(r, z)
        return x, r, z + rz_next / rz * p, rz_next, k + 1, positive

    z = precondition(b)
    carry = (jnp.zeros_like(b), b, z, jnp.vdot(b, z), jnp.zeros((), int), jnp.ones((), bool))
    x, r, _, _, iterations, _ = lax.while_loop(unfinished, iterate, carry)
    return x, iterations, jnp.linalg.norm(r) <= target


@compiled
def factor_kernel(problem: FlatProblem, w: Array) -> Array | None:
    """Return the inverse of the kernel between samples at `w`, slightly shifted, or `None`."""
    kernel = problem.sample_kernel(w)
    if kernel is None:
        return None
    n = kernel.shape[0]
    # Formed in single precision: eigenvalues below about 1e-6 of the mean one are rounding.
    shift = 1e-6 * jnp.trace(kernel) / n + jnp.finfo(kernel.dtype).tiny
    return jnp.linalg.inv(kernel + shift * jnp.eye(n, dtype=kernel.dtype))


def kernel_cost(inverse: Array | None) -> float:
    """Return the work of `factor_kernel` in units of one gradient."""
    return 0.0 if inverse is None else 1.0 + inverse.shape[0] / 3


@compiled
def gauss_newton_limit(
    inverse: Array | None, problem: FlatProblem, w: Array, tolerance: Array, max_iterations: Array
) -> LinearLimit:
    """Return `w - Jᵀ (J Jᵀ)⁻¹ r`, with `inverse ⊗ I` as preconditioner where there is one."""
    r, jacobian, transpose = problem.jacobian(w)

    def precondition(u: Array) -> Array:
        return u if inverse is None else (inverse @ u.reshape(inverse.shape[0], -1)).ravel()

    psi, iterations, solved = conjugate_gradients(
        lambda u: jacobian(transpose(u)), r, precondition, tolerance, max_iterations
    )
    return _limit(problem, w, transpose(r), -transpose(psi), iterations, solved)


@compiled
def newton_limit(
    problem: FlatProblem, w: Array, tolerance: Array, max_iterations: Array
) -> LinearLimit:
    """Return `w - H⁺ ∇L`, the point of `w + range(H)` where the linearised gradient vanishes."""
    gradient = problem.gradient(w)
    delta, iterations, solved = conjugate_gradients(
        problem.hessian(w), -gradient, lambda u: u, tolerance, max_iterations
    )
    return _limit(problem, w, gradient, delta, iterations, solved)


def _limit(
    problem: FlatProblem,
    w: Array,
    gradient: Array,
    delta: Array,
    iterations: Array,
    solved: Array,
) -> LinearLimit:
    before, after = problem(w), problem(w + delta)
    predicted = -0.5 * jnp.vdot(gradient, delta)
    # Where the fall is below the rounding of the loss itself, nothing contradicts the model.
    rounding = 16 * jnp.finfo(before.dtype).eps * jnp.abs(before)
    misfit = jnp.maximum(jnp.abs(before - after - predicted) - rounding, 0.0) / jnp.abs(predicted)
    return LinearLimit(w + delta, after, jnp.linalg.norm(delta), misfit, iterations, solved)
