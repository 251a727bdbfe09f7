"""The fresh problems of the benchmarks: their references against closed forms, and the verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

import fresh_problems
import fresh_references
from fresh import Judged, Result

REFERENCES = fresh_references.read_references()


def cases(kind, *settings, of):
    known = [s for k, s in REFERENCES if k == kind and REFERENCES[k, s].known]
    return [pytest.param(kind, s, id=f"{kind} {s}") for s in known if s % of in settings][:6]


def assert_is(kind, seed, exact):
    reference = REFERENCES[kind, seed]
    assert abs(reference.low - exact) <= reference.error + 1e-9 * exact
    assert reference.error <= 2e-6 * exact


def vectors(case):
    return {name: np.asarray(a) for name, a in case.w.items()}


@pytest.mark.parametrize(("kind", "seed"), cases("hinge", 0, 1, of=9))
def test_a_squared_hinge_of_a_product_ends_where_it_is_one_from_below(kind, seed):
    squares = vectors(fresh_problems.draw(kind, seed))["u"] ** 2
    balances = squares - squares.min()
    x = brentq(lambda x: np.sum(np.log(x + balances)), 1e-12, 10, xtol=1e-15)
    assert_is(kind, seed, np.sum(1 / (x + balances)))


@pytest.mark.parametrize(("kind", "seed"), cases("hinge", 8, of=9))
def test_the_flow_to_a_ball_ends_on_its_surface(kind, seed):
    case = fresh_problems.draw(kind, seed)
    d, u = np.asarray(case.data[0]), vectors(case)["u"]
    time = brentq(lambda s: np.sum(d * u**2 * np.exp(-2 * d * s)) - 1, 0, 100, xtol=1e-15)
    assert_is(kind, seed, np.sum((d * u * np.exp(-d * time)) ** 2))


@pytest.mark.parametrize(("kind", "seed"), cases("factorised", 0, of=4))
def test_factors_conserve_their_balance(kind, seed):
    case = fresh_problems.draw(kind, seed)
    w, y = vectors(case), np.asarray(case.data[1])
    balances = w["u"] ** 2 - w["v"] ** 2
    assert_is(kind, seed, np.max(np.sqrt(balances**2 + 4 * y**2)) / 3)


@pytest.mark.parametrize(("kind", "seed"), cases("decay", 0, 1, 2, of=6))
def test_weight_decay_balances_a_scalar_network(kind, seed):
    case = fresh_problems.draw(kind, seed)
    depth, rate = case.w["u"].size, float(case.data[-1])
    x = brentq(lambda x: (1 - x**depth) * x ** (depth - 2) - rate, 0.8, 1.0, xtol=1e-15)
    square, coupling = x ** (2 * depth - 2), (x**depth - 1) * x ** (depth - 2)
    assert_is(kind, seed, square + rate + (depth - 1) * (square + coupling))


@pytest.mark.parametrize(("kind", "seed"), cases("drift", 0, of=4))
def test_a_drift_along_the_hyperbola_ends_where_it_is_pulled_to(kind, seed):
    rate, c = map(float, fresh_problems.draw(kind, seed).data)
    assert_is(kind, seed, np.linalg.eigvalsh([[1 / c**2 + rate, 1], [1, c**2]])[-1])


def test_a_case_is_drawn_from_its_seed_alone():
    first, second = (fresh_problems.draw("recurrent", 5) for _ in range(2))
    assert np.array_equal(first.w["h"], second.w["h"])
    assert not np.array_equal(first.w["h"], fresh_problems.draw("recurrent", 8).w["h"])


def test_there_are_enough_references_of_every_kind():
    assert len(REFERENCES) >= 240
    assert {kind for kind, _ in REFERENCES} == set(fresh_problems.KINDS)
    without = [r for r in REFERENCES.values() if not r.known and r.why != "unsettled"]
    assert len(without) <= 0.05 * len(REFERENCES)


def judged(status, value, bar, reference):
    return Judged(Result("drift", 0, status, value, bar, "stabilized", 1.0, 1.0), reference)


def test_what_is_wrong_with_an_answer_is_told():
    right = fresh_references.Reference("drift", 0, 2, low=2.0, high=2.0, error=1e-9)
    assert judged("CONVERGED", 2.1, 0.05, right).fault == "CONVERGED beyond the bar"
    assert judged("CONVERGED", 2.1, 0.15, right).fault == ""
    assert judged("NO_MINIMISER_FOUND", 9.0, np.inf, right).fault == ""
    assert judged("SET_VALUED", 9.0, np.inf, right).fault == ""
    assert judged("CONVERGED", np.nan, 0.1, right).fault == "CONVERGED beyond the bar"
    kinked = replace(right, high=3.0)
    assert judged("CONVERGED", 2.5, 1e-4, kinked).fault == "CONVERGED narrower than the set"
    assert judged("SET_VALUED", 2.5, 0.5, kinked).fault == ""
    endless = fresh_references.Reference("unsettled", 0, 2, why="unsettled")
    assert judged("CONVERGED", 0.0, 1e-6, endless).fault == "endless, yet settled"
    assert judged("SADDLE", 0.0, 1e-6, endless).fault == ""
