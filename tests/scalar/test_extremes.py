"""Scalar networks where floating point is worst, against 60 digits; and gradients of `φ`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scalar_adversarial
import thalweg as tw
from marks import slow
from thalweg.scalar import ScalarNetwork

_phi_gradient = eqx.filter_jit(lambda network, w: network.gfs_sharpness_gradient(w))
_sharpness = eqx.filter_jit(lambda network, w: network.sharpness(w))


@pytest.mark.parametrize("points", [24, *slow(300)])
def test_closed_forms_survive_adversarial_points(points):
    gfs, here, compared = scalar_adversarial.worst_errors(points, seed=1)
    assert compared > 0.83 * points
    assert max(gfs.values()) <= 1e-12
    assert max(here.values()) <= 2e-14


@pytest.mark.parametrize(
    ("w", "value"),
    [
        ([0.0, 0.0, 3.0], 6.0),  # y |w_3|
        ([0.0, 0.0, 0.0], 0.0),
        ([0.0, 2.0, 0.0, 0.0], 0.0),
        ([0.0, 3.0, 4.0], 72 + np.sqrt(72.0**2 + 4 * (9 + 16))),  # an arrow: P_1 = 12, y = 2
        ([1.0, 1.0, 2.0], 4 * (1 + 1 + 0.25)),  # a minimum: y² Σ 1/w²
    ],
)
def test_sharpness_at_special_points(w, value):
    assert float(_sharpness(ScalarNetwork(len(w), 2.0), jnp.array(w))) == pytest.approx(value)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_sharpness_is_that_of_the_dense_hessian(depth):
    rng = np.random.default_rng(depth)
    network = ScalarNetwork(depth, 1.5)
    for w in rng.standard_normal((5, depth)):
        dense = tw.sharpness(network, jnp.asarray(w))
        assert float(_sharpness(network, jnp.asarray(w))) == pytest.approx(dense, rel=1e-10)


def test_sharpness_that_overflows_keeps_its_logarithm():
    network, w = ScalarNetwork(3), jnp.array([1e150, 2e150, 1e150])
    assert float(_sharpness(network, w)) == np.inf
    assert np.isfinite(float(network.log_sharpness(w)))
    assert np.isnan(float(_sharpness(network, w.at[0].set(jnp.nan))))


@pytest.mark.parametrize("w", [[1.2, 0.4, 2.0], [1.2, -0.4, 2.0], [0.9, 0.9, -1.1, -0.6]])
def test_gradient_of_the_gfs_sharpness(w):
    network, w = ScalarNetwork(len(w), 1.7), np.array(w)
    gradient = np.asarray(_phi_gradient(network, jnp.asarray(w)))
    h = 1e-5
    phi = [network.flow_limits(w + sign * h * np.eye(len(w))).sharpness for sign in (1, -1)]
    np.testing.assert_allclose(gradient, (phi[0] - phi[1]) / (2 * h), rtol=1e-6, atol=1e-8)
    flow = np.asarray(network.gradient(jnp.asarray(w)))
    assert abs(gradient @ flow) <= 1e-13 * np.linalg.norm(gradient) * np.linalg.norm(flow)
    assert np.linalg.norm(gradient) > 0.1


def test_gradient_of_the_gfs_sharpness_at_a_balanced_start_and_at_a_saddle():
    network = ScalarNetwork(3)
    np.testing.assert_allclose(_phi_gradient(network, jnp.full(3, 0.7)), 0.0, atol=1e-14)
    assert np.all(np.isnan(_phi_gradient(network, jnp.array([1.0, -1.0, 2.0]))))


def test_balances_do_not_cancel():
    w = np.array([1.0, -1.0 - 2.0**-40, 3.0])
    found = np.asarray(ScalarNetwork(3).balances(jnp.asarray(w)))
    np.testing.assert_allclose(found, [0.0, 2.0**-39 + 2.0**-80, 8.0], rtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("w", [[0.6, 1.4, 1.9], [-0.2, 1.1, 0.8]])
def test_the_integrated_flow_agrees(w):
    network, w = ScalarNetwork(3), jnp.array(w)
    exact = tw.gradient_flow_solution(network, w)
    flow = tw.gradient_flow_solution(network, w, method=tw.flow.Stabilized(), rtol=1e-7)
    assert flow.converged
    assert flow.sharpness == pytest.approx(exact.sharpness, rel=1e-7)
    assert abs(flow.sharpness - exact.sharpness) <= flow.sharpness_error + exact.sharpness_error


def test_compiled_for_many_points():
    network = ScalarNetwork(4)
    ws = jnp.asarray(np.random.default_rng(0).standard_normal((20, 4)))
    mapped = jax.jit(jax.vmap(network.sharpness))(ws)
    single = [float(_sharpness(network, w)) for w in ws]
    np.testing.assert_allclose(mapped, single, rtol=1e-14)
