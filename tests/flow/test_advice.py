"""The status of a flow that fails names the cause, and its advice is about that cause."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from cases import terms
from marks import slow
from thalweg import Status


def status_of(loss, w, budget=60_000):
    flow = tw.gradient_flow_solution(loss, jnp.asarray(w), max_gradient_evaluations=budget)
    assert flow.sharpness_error == np.inf
    return flow.status


@pytest.mark.parametrize(
    "loss",
    [
        terms(linear=1),
        *slow(terms(quadratic=-1), terms(quadratic=[1, -1]), terms(quartic=-1)),
        *slow(terms(linear=1e-6, constant=[1e3, 0])),
    ],
    ids=["linear", "concave", "indefinite", "in finite time", "small slope"],
)
def test_a_loss_that_falls_without_bound(loss):
    assert status_of(loss, [1.0, 2.0]) is Status.UNBOUNDED
    assert "without bound" in Status.UNBOUNDED.advice


@pytest.mark.slow
def test_a_deep_minimum_is_not_taken_for_none():
    """From near zero, where the loss is zero, down to -1e9 in slow directions."""
    curvatures = jnp.array([1.0, 1e-3, 1e-5])
    bottom = jnp.array([0.0, 1e6, 1e7])

    def loss(w):
        return 0.5 * jnp.sum(curvatures * (w - bottom) ** 2) - 0.5 * jnp.sum(curvatures * bottom**2)

    flow = tw.gradient_flow_solution(loss, jnp.zeros(3))
    assert flow.status is Status.CONVERGED
    assert abs(flow.sharpness - 1) <= flow.sharpness_error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "w"),
    [
        (lambda w: jnp.sum(jnp.abs(w) ** 1.5), [1.0, 0.0]),
        (lambda w: w[0] ** 2 + jnp.where(w[1] > 0, w[1] ** 1.5, 0.0), [1.0, 0.0]),
    ],
)
def test_a_hessian_that_is_not_finite(loss, w):
    assert jnp.isfinite(loss(jnp.asarray(w)))
    assert status_of(loss, w) is Status.NON_FINITE_HESSIAN
    with pytest.raises(ValueError, match="level"):
        tw.truncated_sharpness(loss, jnp.asarray(w), level=2.0)
    level = tw.truncated_sharpness(loss, jnp.asarray(w), level=0.1)
    assert level.status is Status.NON_FINITE_HESSIAN


def test_a_gradient_that_is_not_finite():
    assert status_of(lambda w: jnp.linalg.norm(w) + jnp.sum(w), [0.0, 0.0]) is Status.NON_FINITE


def test_descent_from_where_the_gradient_is_not_finite_does_not_blame_the_step_size():
    run = tw.descend(jnp.linalg.norm, jnp.zeros(2), step_size=[0.1, 0.2], steps=3)
    assert run.status == ["diverged", "diverged"]
    for message in run.message:
        assert "gradient is not finite" in message
        assert "choose a step size" not in message
    run = tw.descend(terms(quartic=1), jnp.ones(2), step_size=9.0, steps=9)
    assert run.status == ["diverged"]
    assert "choose a step size below 9" in run.message[0]


def test_a_descent_whose_gradient_fails_on_the_way():
    """Down to zero by steps of one, where the root has no derivative."""
    run = tw.descend(lambda w: jnp.sqrt(w[0] ** 2), jnp.array([3.0]), step_size=1.0, steps=9)
    assert run.steps == [3]
    assert "from step 3: the loss is 0, but its gradient is not finite" in run.message[0]


@pytest.mark.slow
def test_an_infimum_that_is_not_attained():
    for loss in (lambda w: jnp.sum(jnp.exp(-w)), lambda w: jnp.sum(jax.nn.softplus(-w))):
        assert status_of(loss, [1.0, 2.0]) is Status.NO_MINIMISER_FOUND
