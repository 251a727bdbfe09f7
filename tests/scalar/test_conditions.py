"""Conditions for scalar networks: against exact arithmetic, and against what descent then does."""

from fractions import Fraction
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import convergence_bracket
import one_step_condition as falsification
from marks import slow
from thalweg.scalar.conditions import convergence_condition, one_step_condition

ONE_STEP = jax.jit(one_step_condition)


def exact(w, step_size, target=1):
    """Return `η |π - y| |π| / (w_(1) w_(2))` and whether all signs are kept, as fractions."""
    w = [Fraction(float(a)) for a in w]
    pi = prod(w)
    kappa = Fraction(float(step_size)) * (pi - Fraction(float(target))) * pi
    first, second = sorted(abs(a) for a in w)[:2]
    return abs(kappa) / (first * second), all(kappa < a * a for a in w)


@pytest.mark.parametrize("depth", [2, 3, 5, 10])
def test_nothing_is_claimed_that_rounding_could_decide(depth):
    """Step sizes within a few units in the last place of equality, against exact fractions."""
    rng = np.random.default_rng(depth)
    w = np.exp(rng.normal(0, 0.5, (200, depth)))
    w *= (rng.uniform(0.05, 4.0, 200) / np.prod(w, axis=1))[:, None] ** (1 / depth)
    which = np.arange(200) % 2 == 0
    at_one = np.array([exact(a, 1.0)[0] for a in w], float)
    kappa = (np.prod(w, axis=1) - 1) * np.prod(w, axis=1)
    limit = np.where(which | (kappa < 0), 1 / at_one, np.min(w, axis=1) ** 2 / np.abs(kappa))
    decided = 0
    for ulps in (-5, -1, 0, 1, 5, -2000, 2000):
        step_size = limit * (1 + ulps * 2.0**-52)
        found = jax.device_get(ONE_STEP(w, step_size))
        holds, fails = found.gap.value > found.gap.error, found.gap.value < -found.gap.error
        kept = found.signs.value > found.signs.error
        for i in range(200):
            ratio, keeps = exact(w[i], step_size[i])
            assert not holds[i] or ratio <= 1
            assert not fails[i] or ratio > 1
            assert not kept[i] or keeps
            assert abs(found.gap.value[i] - float(1 - ratio)) <= found.gap.error[i]
        decided += abs(ulps) == 2000 and np.sum(which & (holds | fails)) > 90
    assert decided == 2


@pytest.mark.slow
def test_searches_find_no_counterexample_but_do_with_a_looser_constant():
    for depth in (2, 4):
        counts = falsification.search(jax.random.key(1), depth, 10)
        assert counts.gap_rises == 0
        assert counts.sharpness_rises == 0
        assert counts.beyond_the_gap > 100
        assert counts.loose_rises > 0


@pytest.mark.parametrize("depth", [2, *slow(10)])
def test_runs_that_meet_the_convergence_condition_end_in_the_bracket(depth):
    runs = convergence_bracket.simulate(jax.random.key(2), depth, 150)
    assert np.sum(runs.met) > 100
    assert np.all(np.asarray(runs.settled | ~runs.met))
    assert np.all(np.asarray(runs.inside | ~runs.met))
    assert np.max(np.where(runs.met, runs.slowest, 0)) <= 1 + 1e-9
    assert 0.01 < np.max(np.where(runs.met, runs.used, 0)) < 0.5


def test_a_step_onto_the_saddle_is_claimed_by_nothing():
    found = ONE_STEP(np.array([3.0, 3.0]), 0.125)
    assert not bool(found.holds)
    assert not bool(found.signs.holds)
    assert float(found.sharpness.value) > 0.9


def test_values_of_the_margins():
    found = ONE_STEP(np.array([[0.5, 1.5, -1.0], [0.5, 2.0, 3.0]]), np.array([0.2, 0.25]), 2.0)
    np.testing.assert_allclose(found.gap.value, [1 - 0.2 * 2.75 * 0.75 / 0.5, 1 - 0.25 * 3.0])
    np.testing.assert_allclose(found.signs.value, [np.nan, 1 - 0.25 * 3 / 0.25])
    assert found.by_gap.tolist() == [True, True]  # the flow from g still has a limit
    assert found.untied.tolist() == [True, True]


@pytest.mark.slow
def test_signs_order_and_target_do_not_matter():
    rng = np.random.default_rng(5)
    v = rng.uniform(0.3, 1.5, (50, 3))
    y, signs = 7.0, np.array([-1.0, 1.0, -1.0])
    plain = ONE_STEP(v, 0.2)
    other = ONE_STEP(y ** (1 / 3) * signs * v[:, [2, 0, 1]], 0.2 * y ** (-4 / 3), y)
    for name in ("gap", "signs", "sharpness"):
        np.testing.assert_allclose(
            getattr(plain, name).value, getattr(other, name).value, rtol=1e-11, atol=1e-13
        )
    plain = convergence_condition(v, 0.2)
    other = convergence_condition(y ** (1 / 3) * signs * v, 0.2 * y ** (-4 / 3), y)
    np.testing.assert_allclose(plain.near.value, other.near.value, rtol=1e-10)
    np.testing.assert_allclose(plain.below.value, other.below.value, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("w", "step_size"),
    [
        ([2.0, 0.501], 0.5),  # δ < 0
        ([2.0, 0.501], 0.1),  # η φ < 1/2
        ([2.0, 0.6], 0.4),  # the loss is too large
        ([-2.0, 0.501], 0.4),  # the product is negative
        ([1.0, -1.0], 0.4),  # the flow ends in a saddle
        ([0.0, 0.0], 0.4),
        ([np.nan, 1.0], 0.4),
        ([1e200, 1e200], 0.4),
    ],
)
def test_convergence_is_not_claimed(w, step_size):
    found = convergence_condition(np.array(w), step_size)
    assert not bool(found.holds)
    assert np.isnan(found.lower)


@pytest.mark.slow
def test_products_whose_parts_overflow_are_right():
    w = np.array([1e-200, 1e-200, 2e200, 1.5e200])
    found = convergence_condition(w, 1e-300)
    assert bool(found.positive)
    small = np.array([1e-150, 2e150])  # κ = η (π - 1) π = 2e-300, w_(1)² = 1e-300
    step = ONE_STEP(small, 1e-300)
    assert not bool(step.signs.holds)
    assert bool(step.by_gap)
    jaxed = ONE_STEP(jnp.asarray(w, jnp.float64), 0.5)
    assert float(jaxed.gap.value) == -jnp.inf or float(jaxed.gap.value) < -1e300
