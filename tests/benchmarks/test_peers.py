"""The other methods of the benchmarks end where the flow ends, and are charged for what they do."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import peer_methods
import thalweg as tw
from peer_methods import PEERS, Budget, BudgetSpentError, Flow, WorkCounter
from peers import Mark, Trajectory, measure
from thalweg.problems import COST

A = np.random.default_rng(0).standard_normal((4, 6)) / 2
B = np.arange(1.0, 5.0)


def line(w, x):
    return x @ w


@pytest.fixture(scope="module")
def linear():
    """Four equations, six unknowns: the flow from zero ends at the solution of least norm."""
    return Flow(tw.Supervised(line, jnp.asarray(A), jnp.asarray(B)), jnp.zeros(6))


@pytest.mark.parametrize("name", PEERS)
def test_peers_end_at_the_limit_of_a_linear_flow_and_are_charged(name, linear, monkeypatch):
    monkeypatch.setattr(peer_methods, "EXACT", 2)  # of four directions that matter
    counter, works, w = WorkCounter(Budget()), [], linear.start
    path = PEERS[name].integrate(linear, counter, PEERS[name].settings(1e-6)[0])

    limit = np.linalg.pinv(A) @ B
    while np.linalg.norm(w - limit) > 1e-4:
        w = counter.time(path)
        works.append(counter.work)
        counter.set_mark()
        assert counter.work < 5000
    assert works[0] > 0
    assert np.all(np.diff(works) > 0)
    assert counter.seconds > 0


def test_work_is_what_the_table_of_costs_says(linear):
    spent = {}
    for name in PEERS:
        counter = WorkCounter(Budget())
        path = PEERS[name].integrate(linear, counter, PEERS[name].settings(1e-3)[0])
        counter.time(path)
        before = counter.work
        counter.time(path)
        spent[name] = counter.work - before
    products = COST.hessian_product * linear.size  # small: eigenpairs from the dense Hessian
    assert spent["RK4, 1/λ"] == products + 4
    assert spent["exponential Euler"] == products + 1
    assert spent["Tsit5"] == 6
    assert spent["Dopri8"] == 13
    assert spent["Kvaerno5"] == products + 6


def test_scipy_solvers_are_charged_for_every_call():
    calls = []
    flow = Flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(3))
    velocity = flow.velocity
    flow.velocity = lambda w: calls.append(1) or velocity(w)
    counter = WorkCounter(Budget())
    path = PEERS["SSV2stab"].integrate(flow, counter, 1e-3)
    for _ in range(3):
        counter.time(path)
    assert counter.work == len(calls)


def test_stepping_by_hand_is_what_diffrax_does(linear):
    controller, solver = diffrax.PIDController(1e-5, 1e-6), diffrax.Tsit5()
    start = peer_methods.diffrax_start(
        solver, controller, linear.problem, linear.start, jnp.asarray(0.01)
    )
    t, _, w, *_ = peer_methods.diffrax_steps(
        solver, controller, linear.problem, start, jnp.asarray(12)
    )
    whole = diffrax.diffeqsolve(
        peer_methods.TERM,
        solver,
        0.0,
        t,
        0.01,
        linear.start,
        linear.problem,
        stepsize_controller=controller,
    )
    assert int(whole.stats["num_steps"]) == 12
    np.testing.assert_allclose(w, whole.ys[0], rtol=1e-12, atol=1e-14)


def test_a_budget_ends_a_trajectory(linear):
    way = Trajectory(PEERS["RK4, 1/λ"], linear, 1.0, reference=-1.0, budget=Budget(60, 300))
    way.integrate_to(1e-3)
    assert way.end == "budget"
    assert way.marks[-1].evaluations <= 300
    assert way.first_mark(1e-3) is None
    counter = WorkCounter(Budget(0.0, 1e9))
    with pytest.raises(BudgetSpentError):
        counter.spend(1)


def test_the_cost_is_that_of_the_first_mark_after_which_the_error_stays_small(linear):
    way = Trajectory(PEERS["RK4, 1/λ"], linear, 1.0, reference=1.0, budget=Budget())
    errors = [1.0, 1e-5, 1e-2, 1e-4, 2e-4, 1e-4]
    way.marks = [Mark(10.0 * 1.3**i, 0.0, 1.0, error) for i, error in enumerate(errors)]
    assert way.first_mark(1e-3) is way.marks[3]
    assert way.first_mark(1.5e-4) is None  # not for long enough
    way.end = "budget"
    assert way.first_mark(1.5e-4) is way.marks[5]


def test_a_peer_reaches_a_sharpness_that_is_known():
    # x² - y² is conserved: x y = 1 at the limit, with sharpness x² + y² = sqrt((x² - y²)² + 4).
    flow = Flow(lambda w: 0.5 * (w[0] * w[1] - 1) ** 2, jnp.array([2.0, 0.3]))
    exact = float(np.hypot(4.0 - 0.09, 2.0))
    reference = {"value": exact, "uncertainty": 1e-12}
    entry = measure(PEERS["LSODA"], flow, reference, Budget())
    costs = [cell["evaluations"] for cell in entry["reached"].values()]
    assert list(entry["reached"]) == ["0.001", "0.0001", "1e-06"]
    assert costs == sorted(costs)
    assert costs[0] > 5
    assert all(cell["error"] <= float(name) for name, cell in entry["reached"].items())


def test_what_does_not_fit_is_not_tried():
    flow = Flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(701))
    entry = measure(PEERS["Kvaerno5"], flow, {"value": 1.0, "uncertainty": 0.0}, Budget())
    assert entry["fits"] is False
    assert entry["reached"] == {}


def test_only_accuracies_that_the_reference_can_judge_are_asked_for(linear):
    uncertain = {"value": 1.0, "uncertainty": 2e-5}
    entry = measure(PEERS["RK4, 1/λ"], linear, uncertain, Budget(60, 500))
    assert set(entry["reached"]) <= {"0.001", "0.0001"}
    assert jax.tree.leaves(entry)
