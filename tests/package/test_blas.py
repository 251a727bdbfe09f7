"""How many threads BLAS has while something is computed, and afterwards."""

import threading

import jax.numpy as jnp
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import thalweg as tw
from thalweg.basics.blas import one_blas_thread
from thalweg.curvature.lanczos import largest_eigenpairs


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def three_threads():
    with threadpool_limits(3, "blas"):
        if threads() != {3}:
            pytest.skip("BLAS has no threads here")
        yield


@pytest.mark.usefixtures("three_threads")
def test_blas_has_one_thread_as_long_as_a_flow_is_followed_or_eigenpairs_are_sought():
    seen = []

    def product(v):
        seen.append(threads())
        return jnp.arange(5.0) * v

    largest_eigenpairs(product, jnp.ones((5, 1)), k=1)
    tw.gradient_flow_solution(
        lambda w: jnp.sum((w[0] * w[1:] - 1) ** 2),
        jnp.linspace(0.2, 1.0, 4),
        report=lambda progress: seen.append(threads()),
    )
    assert seen
    assert all(number == {1} for number in seen)
    assert threads() == {3}


@pytest.mark.usefixtures("three_threads")
def test_the_limit_ends_with_the_outermost_block_however_it_is_left():
    with one_blas_thread:
        with pytest.raises(ZeroDivisionError):
            one_blas_thread(lambda: 1 / 0)()
        assert threads() == {1}
    assert threads() == {3}


@pytest.mark.usefixtures("three_threads")
def test_a_block_in_another_thread_changes_nothing():
    seen = []

    def within():
        with one_blas_thread:
            seen.append(threads())

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert seen == [{3}]
    assert threads() == {3}
