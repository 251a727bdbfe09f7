"""Flows that will not settle within their budget are told early, and others are not."""

import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.flow import Stabilized, integrate
from thalweg.flow.diverging_flow import DecadeSample
from thalweg.flow.solution import Status
from thalweg.flow.too_slow import (
    DOUBT,
    STIFF,
    forecast_by_decades,
    forecast_by_moves,
    forecast_by_pace,
)


def decades(moves, works, size=10.0, fall=0.1, curvature=STIFF):
    """Return samples of a flow along a line that moves by `moves` from decade to decade."""
    places = size + np.concatenate([[0.0], np.cumsum(moves)])
    return [
        DecadeSample(10.0**k, fall**k, curvature, jnp.array([place]), work)
        for k, (place, work) in enumerate(zip(places, works, strict=True))
    ]


def test_a_flow_that_moves_ever_farther_at_ever_higher_prices_is_forecast():
    works = [1000.0, 2000.0, 4000.0, 8000.0]
    assert forecast_by_decades(decades([1, 2, 3], works)) == 2 * 8000 * 2**3
    assert forecast_by_decades(decades([3, 2, 1], works)) == 0  # slowing down
    assert forecast_by_decades(decades([1e-3, 1e-2, 0.1], works)) == 0  # leaving a plateau
    assert forecast_by_decades(decades([1, 2], works[1:])) == 0  # too early to say


def test_a_decade_that_does_not_end_is_forecast_by_its_pace():
    last = DecadeSample(1e8, 1.0, 1.0, jnp.zeros(1), 1000.0)
    assert forecast_by_pace(last, 1e9, 2000.0) == 2 * 2000 * 2
    assert forecast_by_pace(last, 10**8.5, 2000.0) == pytest.approx(2 * 2000 * 4)
    assert forecast_by_pace(last, 2e8, 1500.0) == 0


def test_moves_that_shrink_fast_enough_are_let_go_on():
    works = [1000.0, 3000.0, 9000.0]
    fast, slow = (forecast_by_moves(decades([1.0, last], works), 1e-4) for last in (0.1, 0.95))
    # From 0.1 of 11 down to 1e-4 of it by a hundred a decade: not one decade more.
    assert 3 * 9000 < DOUBT * fast < 3 * 9000 * 10**0.5 < 1e6 < slow
    assert forecast_by_moves(decades([0.1, 1.0], works), 1e-4) > 1e12
    assert forecast_by_moves(decades([1.0], works[:2]), 1e-4) == 0
    early = decades([0.1, 1.0], works, curvature=0.9 * STIFF / 100)
    assert forecast_by_moves(early, 1e-4) == 0


def test_a_flow_that_may_be_leaving_a_saddle_is_let_go_on():
    works = [1000.0, 3000.0, 9000.0]
    assert forecast_by_moves(decades([0.1, 1.0], works, fall=0.9), 1e-4) == 0


@pytest.mark.slow
def test_a_small_network_that_does_not_settle_is_told_early():
    rng = np.random.default_rng(4)
    x = jnp.asarray(rng.normal(size=(5, 1)))
    w = {"in": jnp.asarray(rng.normal(size=(1, 7))), "out": jnp.asarray(rng.normal(size=7))}
    problem = tw.Supervised(lambda w, x: jnp.tanh(x @ w["in"]) @ w["out"], x, jnp.sin(x[:, 0]))
    s = tw.gradient_flow_solution(problem, w)
    assert s.status is Status.TOO_SLOW
    assert s.gradient_evaluations < 100_000
    assert s.sharpness_error == np.inf
    assert "in a decade of time" in s.detail
    assert "max_gradient_evaluations" in s.status.advice


def test_what_settles_at_one_tolerance_is_not_given_up_at_the_next(monkeypatch):
    asked = []
    monkeypatch.setattr(integrate, "LEAST_WORK", 0.0)
    monkeypatch.setattr(
        integrate.FlowIntegrator, "_forecast", lambda self: asked.append(self) or 0.0
    )
    start = jnp.array([2.0, 0.5, 0.4])
    s = tw.gradient_flow_solution(tw.ScalarNetwork(depth=3), start, method=Stabilized())
    assert s.converged
    assert len(set(asked)) == 1


def test_a_flow_whose_first_step_is_not_taken_yet_is_not_forecast(monkeypatch):
    for name in ("LEAST_WORK", "EARLY"):
        monkeypatch.setattr(integrate, name, 0.0)
    monkeypatch.setattr(integrate.FlowIntegrator, "_sample_decade", lambda self, state: None)
    start = jnp.array([2.0, 0.5, 0.4])
    assert tw.gradient_flow_solution(
        tw.ScalarNetwork(depth=3), start, method=Stabilized()
    ).converged
