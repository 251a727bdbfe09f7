"""Derivatives as whole matrices, to compare with; each is one program for a structure."""

import jax

from thalweg.problems.compiling import compiled


@compiled
def hessian(loss, w):
    return jax.hessian(loss)(w)


@compiled
def residuals_and_jacobian(problem, w):
    return problem.residuals(w), jax.jacobian(problem.residuals)(w)
