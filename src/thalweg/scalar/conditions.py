"""Conditions under which gradient descent on a scalar network provably behaves, with margins.

`L(w) = ½ (π(w) - y)²`, `π(w) = w_1 ⋯ w_D`, `y > 0`; `φ(w)` is the sharpness of the gradient flow
solution from `w`, `g = w - η ∇L(w)` one step of gradient descent. All conditions are invariant
under the scaling `w = y^(1/D) v`, `η_v = η y^(2-2/D)` that makes the target 1, so they are
evaluated at `w` itself. Proofs: `docs/scalar-networks.md`. The idea of following gradient descent
by the sharpness of gradient flow solutions: Kreisler, Shpigel Nacson, Soudry, Carmon, ICML 2023,
arXiv 2305.13064; statements and proofs here are this package's own.

Everything is traceable, vectorised over leading axes, and in the dtype of `w`. A margin comes with
a bound on its rounding error, and a condition is claimed only where the margin exceeds it: where
rounding could decide, nothing is claimed.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from thalweg.scalar.calls import nan_checks_off
from thalweg.scalar.flow_limit import solve_coordinates_first
from thalweg.scalar.product import product


class Margin(NamedTuple):
    """A number that is to be positive: its computed `value`, and a bound `error` on its rounding.

    Shapes are the leading axes of `w`. NaN and an infinite error claim nothing.
    """

    value: Array
    error: Array

    @property
    def holds(self) -> Array:
        """Whether the number is positive whatever the rounding."""
        return self.value > self.error

    @property
    def fails(self) -> Array:
        """Whether the number is negative whatever the rounding."""
        return self.value < -self.error


class OneStep(NamedTuple):
    """Whether one step of gradient descent cannot raise the GFS sharpness: `φ(g) ≤ φ(w)`.

    Attributes
    ----------
    gap
        `1 - η |π - y| |P|`, `P` the product of all coordinates but the two of smallest magnitude;
        that is `1 - η |π - y| |π| / (|w|_(1) |w|_(2))` where no coordinate is zero. Where it is not
        negative, every difference of two squared coordinates contracts and their order stays.
    signs
        `1 - η (π - y) π / w_(1)²`: where it is positive every coordinate keeps its sign. NaN where
        `π(w)` is not positive.
    sharpness
        `1 - η φ(w) / (2 √2)`.
    untied
        Whether one coordinate alone has the smallest magnitude.

    Notes
    -----
    `φ(g) ≤ φ(w)` is proved from either of

    - *the gap condition*: `gap ≥ 0`, and the flows from `w` and from `g` end in minimisers, as they
      do where the signs are kept, or where the smallest magnitude is untied and `gap > 0`;
    - *the sharpness condition*: `signs > 0` and `sharpness ≥ 0`.
    """

    gap: Margin
    signs: Margin
    sharpness: Margin
    untied: Array

    @property
    def by_gap(self) -> Array:
        """Whether the gap condition holds."""
        return self.gap.holds & (self.signs.holds | self.untied)

    @property
    def by_sharpness(self) -> Array:
        """Whether the sharpness condition holds."""
        return self.sharpness.holds & self.signs.holds

    @property
    def holds(self) -> Array:
        """Whether one of the two conditions holds: then `φ(g) ≤ φ(w)`."""
        return self.by_gap | self.by_sharpness


class Convergence(NamedTuple):
    """Whether gradient descent converges from here on, and to which sharpness.

    Attributes
    ----------
    below
        `δ = 2 - η φ(w)`.
    above
        `η φ(w) - 1/2`.
    near
        `1 - 50 ℓ/γ²`, with `ℓ = L(w)/y²` and `γ = min(δ, 2/5)`.
    lower, upper
        The bracket of the final sharpness, `[(1 - 2ℓ/γ) φ(w), φ(w)]`, rounded outwards: NaN where
        the condition does not hold.
    positive
        Whether `π(w) > 0`.

    Notes
    -----
    Where `π(w) > 0` and the three margins are positive, it is proved that for all `k ≥ 0`:
    every coordinate keeps its sign, `L(w_{t+k}) ≤ (1 - γ)^k L(w_t)`, and
    `(1 - 2ℓ/γ) φ(w_t) ≤ φ(w_{t+k}) ≤ φ(w_t)`; the iterates converge to a global minimum.
    """

    below: Margin
    above: Margin
    near: Margin
    lower: Array
    upper: Array
    positive: Array

    @property
    def holds(self) -> Array:
        """Whether the condition holds."""
        return self.positive & self.below.holds & self.above.holds & self.near.holds


class _PointValues(NamedTuple):
    """What both conditions are made of, for starts along the last axis."""

    product: Array
    residual: Array  # π - y
    residual_error: Array
    sharpness: Array  # φ
    sharpness_error: Array


@nan_checks_off()
def one_step_condition(w: ArrayLike, step_size: ArrayLike, target: ArrayLike = 1.0) -> OneStep:
    """Return the margins of the conditions for `φ(w - η ∇L(w)) ≤ φ(w)`.

    Parameters
    ----------
    w
        Parameters, shape `(..., D)`, `D ≥ 2`.
    step_size
        `η > 0`, a shape that broadcasts with the leading axes of `w`.
    target
        `y > 0`, a scalar.

    Examples
    --------
    >>> import numpy as np
    >>> found = one_step_condition(np.array([[2.0, 0.4], [3.0, 3.0]]), 0.125)
    >>> found.holds.tolist()  # from (3, 3) gradient descent steps exactly on the saddle (0, 0)
    [True, False]
    """
    w, eta, _, at = _point(w, step_size, target)
    depth, eps, tiny = w.shape[0], jnp.finfo(w.dtype).eps, jnp.finfo(w.dtype).tiny
    sizes = jnp.sort(jnp.abs(w), axis=0)
    others = eta * product(sizes[2:])  # η |π| / (w_(1) w_(2))
    ratio = others * jnp.abs(at.residual)
    ratio_error = 1.1 * (others * at.residual_error + (depth + 6) * eps * ratio) + 4 * tiny
    shrink = sizes[0] / sizes[1]  # η (π - y) π / w_(1)² = ± ratio / shrink
    kept = 1 - jnp.sign(at.residual) * ratio / shrink
    kept_error = 1.1 * (ratio_error + 2 * eps * ratio) / shrink + eps * jnp.abs(kept)
    steep = eta * at.sharpness / (2 * math.sqrt(2))
    steep_error = 1.1 * eta * at.sharpness_error + 8 * eps * (1 + steep)
    return OneStep(
        gap=Margin(1 - ratio, ratio_error + eps * (1 + ratio)),
        signs=Margin(jnp.where(at.product > 0, kept, jnp.nan), kept_error),
        sharpness=Margin(1 - steep, steep_error),
        untied=sizes[0] < sizes[1],
    )


@nan_checks_off()
def convergence_condition(
    w: ArrayLike, step_size: ArrayLike, target: ArrayLike = 1.0
) -> Convergence:
    """Return the margins of the condition for convergence, and the bracket of the final sharpness.

    Its arguments are those of `one_step_condition`.

    >>> import numpy as np
    >>> found = convergence_condition(np.array([2.0, 0.501]), 0.4)
    >>> bool(found.holds), round(float(found.lower), 3), round(float(found.upper), 3)
    (True, 4.249, 4.249)
    """
    w, eta, y, at = _point(w, step_size, target)
    eps = jnp.finfo(w.dtype).eps
    steep = eta * at.sharpness
    steep_error = 1.01 * eta * at.sharpness_error + 4 * eps * (2 + steep)
    delta = 2 - steep
    loss, worst_loss = (
        0.5 * (r / y) ** 2 for r in (at.residual, jnp.abs(at.residual) + at.residual_error)
    )
    gamma, worst_gamma = (
        jnp.clip(g, jnp.finfo(w.dtype).tiny, 0.4) for g in (delta, delta - steep_error)
    )
    near = 1 - 50 * (loss / gamma) / gamma
    worst_near = 1 - 50 * (worst_loss / worst_gamma) / worst_gamma
    lower = (1 - 2 * worst_loss / worst_gamma) * (at.sharpness - at.sharpness_error)
    found = Convergence(
        below=Margin(delta, steep_error),
        above=Margin(steep - 0.5, steep_error),
        near=Margin(near, near - worst_near + 16 * eps * (2 + jnp.abs(worst_near))),
        lower=lower * (1 - 8 * eps),
        upper=at.sharpness + at.sharpness_error,
        positive=at.product > 0,
    )
    bracket = (jnp.where(found.holds, end, jnp.nan) for end in (found.lower, found.upper))
    return found._replace(lower=next(bracket), upper=next(bracket))


def _point(
    w: ArrayLike, step_size: ArrayLike, target: ArrayLike
) -> tuple[Array, Array, Array, _PointValues]:
    """Return `w` with its coordinates first, `η` and `y` in its dtype, and what is known at `w`."""
    w = jnp.moveaxis(jnp.asarray(w), -1, 0)
    eta = jnp.broadcast_to(jnp.asarray(step_size, w.dtype), w.shape[1:])
    y = jnp.asarray(target, w.dtype)
    depth, eps = w.shape[0], jnp.finfo(w.dtype).eps
    flow = solve_coordinates_first(w, y)
    pi = product(w)
    residual = pi - y
    error = eps * (depth + 1) * jnp.abs(pi) + eps * jnp.abs(residual) + jnp.finfo(w.dtype).tiny
    sharpness = jnp.where(flow.is_saddle, jnp.nan, flow.sharpness)
    return w, eta, y, _PointValues(pi, residual, error, sharpness, flow.error)
