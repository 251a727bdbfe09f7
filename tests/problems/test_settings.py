"""The loss that is followed is the caller's, under the settings that hold where it is asked for."""

import contextlib
import contextvars
import threading
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from marks import slow
from thalweg.flow import Exponential, RungeKutta4, Stabilized
from thalweg.flow.nonsmooth import Kinked

X = jnp.linspace(-1.0, 1.0, 6)[:, None]
W = {"in": jnp.linspace(0.5, 1.5, 8)[None, :], "out": jnp.linspace(-1.0, 1.0, 8)[:, None]}


def predict(w, x):
    return jnp.tanh(x @ w["in"]) @ w["out"]


def watched(note):
    """Return a least-squares problem that calls `note()` whenever its model is called."""

    def predict_and_note(w, x):
        note()
        return predict(w, x)

    return tw.Supervised(predict_and_note, X, jnp.sin(2 * X))


QUESTIONS = {
    "stabilized": lambda p: tw.gradient_flow_solution(p, W, rtol=1e-2, method=Stabilized()),
    "exponential": lambda p: tw.gradient_flow_solution(p, W, rtol=1e-2, method=Exponential()),
    "runge_kutta4": lambda p: tw.gradient_flow_solution(p, W, rtol=1e-2, method=RungeKutta4()),
    "kinked": lambda p: tw.gradient_flow_solution(p, W, rtol=1e-2, method=Kinked()),
    "truncated": lambda p: tw.truncated_sharpness(p, W, level=0.01, rtol=1e-2),
    "fall": lambda p: tw.gfs_sharpness_fall(
        p, W, jax.tree.map(lambda a: a + jnp.array(1e-3), W), rtol=1e-2
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stabilized", *slow(*list(QUESTIONS)[1:])])
def test_a_loss_is_called_in_the_thread_of_the_caller(name):
    threads = set()
    QUESTIONS[name](watched(lambda: threads.add(threading.get_ident())))
    assert threads == {threading.get_ident()}


mesh = jax.make_mesh((1,), ("all",), axis_types=(jax.sharding.AxisType.Auto,))
own_context = jax.make_user_context(0)
of_thread = threading.local()
of_context = contextvars.ContextVar("of_context", default=0)


@contextlib.contextmanager
def values_of_thread_and_context():
    of_thread.value, token = 1, of_context.set(1)
    yield
    of_context.reset(token)
    del of_thread.value


SETTINGS = (
    lambda: jax.default_prng_impl("rbg"),
    lambda: jax.threefry_partitionable(False),
    lambda: jax.default_matmul_precision("float32"),
    lambda: jax.default_device(jax.devices()[0]),
    lambda: jax.numpy_rank_promotion("allow"),
    lambda: jax.transfer_guard_device_to_device("log"),
    lambda: jax.set_mesh(mesh),
    lambda: own_context(1),
    values_of_thread_and_context,
)


def seen():
    """Return all that a loss may depend on besides its arguments.

    But for how dtypes are promoted: diffrax sets that to "standard" within its steps.
    """
    settings = dict(jax.config.values)
    del settings["jax_numpy_dtype_promotion"]
    return (
        settings,
        str(jax.random.key_impl(jax.random.key(0))),
        own_context.value,
        jax.sharding.get_abstract_mesh(),
        getattr(of_thread, "value", 0),
        of_context.get(),
    )


@pytest.mark.slow
def test_settings_that_hold_for_the_caller_hold_for_the_loss():
    within = []
    problem = watched(lambda: within.append(seen()))
    with contextlib.ExitStack() as stack:
        here = [seen()]
        for setting in SETTINGS:
            stack.enter_context(setting())
            here.append(seen())
        tw.gradient_flow_solution(problem, W, rtol=1e-1, method=Stabilized())
    assert all(one != other for one, other in pairwise(here))
    assert within
    assert all(one == here[-1] for one in within)


@pytest.mark.slow
def test_the_flow_is_that_of_the_random_numbers_of_the_caller():
    def loss(w):
        return 0.5 * jnp.sum((w**2 - jnp.abs(jax.random.normal(jax.random.key(0), (3,)))) ** 2)

    with jax.default_prng_impl("rbg"):
        flow = tw.gradient_flow_solution(loss, jnp.array([1.0, 2.0, 3.0]))
        targets = np.abs(jax.random.normal(jax.random.key(0), (3,)))
    assert flow.converged
    assert flow.sharpness == pytest.approx(4 * targets.max(), rel=1e-4)
    assert flow.loss < 1e-6


def test_threads_of_our_own_compute_in_the_precision_of_the_caller():
    ws = np.random.default_rng(0).uniform(0.5, 2.0, (50, 3))
    network = tw.ScalarNetwork(depth=3)
    exact = network.flow_limits(ws)
    sweep = tw.scalar_sweep(ws, 0.1, 50)
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(True):
            found, swept = network.flow_limits(ws), tw.scalar_sweep(ws, 0.1, 50)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert np.array_equal(found.sharpness, exact.sharpness)
    assert np.array_equal(swept.outcome, sweep.outcome)
    np.testing.assert_array_equal(swept.sharpness, sweep.sharpness)
