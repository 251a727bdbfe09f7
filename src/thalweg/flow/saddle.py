"""Tell saddles from minima at the end of a flow."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.curvature import (
    DENSE_UP_TO,
    Eigenpairs,
    dense_eigenpairs,
    largest_eigenpairs,
    random_block,
)
from thalweg.problems import FlatProblem
from thalweg.problems.programs import hessian_matrix, hessian_product

RESOLUTION = 1e-4  # of the sharpness: downward curvature below this is not seen
DIRECTION_TOLERANCE = 1e-9  # relative residual of the direction in which the loss curves downwards
ESCAPE = 1e-8  # of the size of w: a component in that direction by which a flow leaves a saddle
PRODUCTS = 300


class LowestEigenpair(NamedTuple):
    """The lowest eigenpair of a Hessian, and the products spent for it.

    `is_downwards` says whether the loss curves downwards, by more than is lost in the sharpness.
    """

    curvature: float
    direction: Array
    is_downwards: bool
    products: int


def lowest_curvature(
    problem: FlatProblem, w: Array, sharpness: float, max_products: int
) -> LowestEigenpair:
    """Return the lowest eigenpair at `w`; its direction is precise where it leads downwards.

    Downward curvature counts from `RESOLUTION · sharpness` on.
    """
    most, shift = min(PRODUCTS, max_products), abs(sharpness)
    start = random_block(0, w.size, 1, w.dtype)
    pairs = _largest_of_shifted_negative(problem, w, shift, start, RESOLUTION, most)
    products = pairs.matvecs
    lowest = shift - float(pairs.values[0])
    is_downwards = lowest + float(pairs.residuals[0]) < -RESOLUTION * shift
    if is_downwards:
        tol = max(DIRECTION_TOLERANCE, 20 * float(jnp.finfo(w.dtype).eps))
        pairs = _largest_of_shifted_negative(problem, w, shift, pairs.vectors, tol, most)
        products += pairs.matvecs
    return LowestEigenpair(lowest, pairs.vectors[:, 0], is_downwards, products)


def leaves_saddle(lowest: LowestEigenpair, velocity: Array, size: float) -> bool:
    """Return whether a flow with this velocity will leave the saddle ahead of it downwards."""
    component = float(jnp.vdot(lowest.direction, velocity)) / lowest.curvature
    return abs(component) > ESCAPE * size


def _largest_of_shifted_negative(
    problem: FlatProblem, w: Array, shift: float, start: Array, tol: float, most: int
) -> Eigenpairs:
    by = jnp.asarray(shift, w.dtype)
    if w.size <= DENSE_UP_TO:
        matrix = by * jnp.eye(w.size, dtype=w.dtype) - hessian_matrix(problem, w)
        return dense_eigenpairs(matrix, k=1, tol=tol)

    def product(v: Array) -> Array:
        return by * v - hessian_product(problem, w, v)

    return largest_eigenpairs(product, start, k=1, tol=tol, max_products=most)
