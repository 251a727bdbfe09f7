"""Flows side by side are the flows one by one; batches are real, and fates are separate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import thalweg as tw
from thalweg.flow import Exponential, ExponentialRosenbrock, Stabilized
from thalweg.problems import compiling
from thalweg.problems.lanes import side_by_side


def starts_near(w, count, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda a: a + spread * jnp.asarray(rng.normal(size=a.shape)), w)
        for _ in range(count)
    ]


def assert_same(one, other):
    assert one.status is other.status
    assert one.method == other.method
    # Rounding may decide on one product more, or on the last digits of a step.
    assert abs(one.gradient_evaluations - other.gradient_evaluations) <= 5
    assert abs(one.sharpness - other.sharpness) <= 0.01 * one.sharpness_error
    for a, b in zip(jax.tree.leaves(one.w), jax.tree.leaves(other.w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("case", "method", "lanes"),
    [
        (cases.scalar_network, Stabilized(), 8),
        (cases.scalar_network, ExponentialRosenbrock(), 3),
        pytest.param(cases.squared_regression, Exponential(), 8, marks=pytest.mark.slow),
        pytest.param(cases.smooth_network, Stabilized(), 3, marks=pytest.mark.slow),
    ],
)
def test_eight_flows_side_by_side_are_eight_flows(case, method, lanes):
    problem, w = case()
    starts = starts_near(w, 8)
    options = {"method": method, "rtol": 1e-2}
    alone = [tw.gradient_flow_solution(problem, start, **options) for start in starts]
    together = tw.gradient_flow_solutions(problem, starts, lanes=lanes, **options)
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_a_leading_axis_is_a_list_of_starts():
    problem, w = cases.squared_regression()
    starts = starts_near(w, 2)
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *starts)
    by_list, by_axis, by_numpy = (
        tw.gradient_flow_solutions(problem, ws, rtol=1e-2)
        for ws in (starts, stacked, jax.tree.map(np.asarray, stacked))
    )
    for one, *others in zip(by_list, by_axis, by_numpy, strict=True):
        assert [other.sharpness for other in others] == [one.sharpness] * 2
        assert jax.tree.structure(others[0].w) == jax.tree.structure(w)


def test_gradients_of_several_flows_are_computed_in_one_batch(monkeypatch):
    batches = []
    together = compiling._Program.together

    def watched(program, calls):
        batches.append(len(calls))
        return together(program, calls)

    monkeypatch.setattr(compiling._Program, "together", watched)
    problem, w = cases.scalar_network()
    tw.gradient_flow_solutions(problem, starts_near(w, 4), method=Stabilized(), lanes=4)
    assert max(batches) == 4
    assert np.mean(batches) > 2


def test_one_that_fails_does_not_end_the_others():
    problem, w = cases.scalar_network()
    starts = starts_near(w, 3)
    starts[1] = 1e90 * w  # whose loss overflows
    statuses = [
        s.status for s in tw.gradient_flow_solutions(problem, starts, lanes=3, method=Stabilized())
    ]
    assert statuses == [tw.Status.CONVERGED, tw.Status.NON_FINITE, tw.Status.CONVERGED]


def test_each_has_its_own_budget():
    problem, w = cases.scalar_network()
    near, far = starts_near(w, 1)[0], 3 * w
    options = {"method": Stabilized(), "max_gradient_evaluations": 150}
    for one, other in zip(
        tw.gradient_flow_solutions(problem, [near, far], lanes=2, **options),
        [tw.gradient_flow_solution(problem, start, **options) for start in (near, far)],
        strict=True,
    ):
        assert_same(one, other)


def test_one_is_stopped_and_goes_on_in_a_batch(monkeypatch):
    monkeypatch.setattr("thalweg.flow.work_budget.REPORT_INTERVAL", 0.0)
    problem, w = cases.scalar_network()
    starts = starts_near(w, 3)
    options = {"method": Stabilized(), "lanes": 3}
    whole = tw.gradient_flow_solutions(problem, starts, **options)
    standing = [None] * 3

    def stop_the_second(number, progress):
        if number == 1 and progress.gradient_evaluations > 100:
            standing[1] = progress.standing()
            return True

    stopped = tw.gradient_flow_solutions(problem, starts, report=stop_the_second, **options)
    assert [s.status.name for s in stopped] == ["CONVERGED", "STOPPED", "CONVERGED"]
    again = tw.gradient_flow_solutions(problem, starts, standing=standing, **options)
    for one, other in zip(whole, again, strict=True):
        assert_same(one, other)


def test_an_exception_ends_all_and_others_clean_up():
    cleaned = []
    product = compiling.compiled(lambda x: 2 * x)

    def patient():
        try:
            while True:
                product(jnp.ones(()))
        finally:
            cleaned.append(True)

    def impatient():
        product(jnp.ones(()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([patient, impatient], lanes=2)
    assert cleaned == [True]


def test_settings_of_one_lane_are_not_those_of_another():
    product = compiling.compiled(lambda x: 2 * x)

    def careless():
        with np.errstate(invalid="ignore"):
            for _ in range(4):
                product(jnp.ones(()))
            return np.geterr()["invalid"]

    def careful():
        product(jnp.ones(()))
        return np.geterr()["invalid"]

    with np.errstate(invalid="raise"):
        assert side_by_side([careless, careful], lanes=2) == ["ignore", "raise"]


def test_more_tasks_than_lanes_are_returned_in_order():
    product = compiling.compiled(lambda x: 2 * x)

    def task(number):
        for _ in range(7 - number):
            product(jnp.asarray(float(number)))
        return float(product(jnp.asarray(float(number))))

    answers = side_by_side([lambda n=n: task(n) for n in range(7)], lanes=3)
    assert answers == [2.0 * n for n in range(7)]


@pytest.mark.parametrize(
    ("ws", "options", "message"),
    [
        ({"a": jnp.ones(3), "b": jnp.ones((2, 3))}, {}, "leading axis"),
        (jnp.ones(()), {}, "leading axis"),
        ([jnp.ones(2)], {"lanes": 0}, "lanes must be at least 1"),
        ([jnp.ones(2)], {"previous": []}, "previous must have one entry for each of 1 starts"),
    ],
)
def test_what_cannot_be_met_is_refused_in_a_line(ws, options, message):
    with pytest.raises(ValueError, match=message):
        tw.gradient_flow_solutions(tw.ScalarNetwork(depth=2), ws, **options)


def test_no_starts_have_no_solutions():
    assert tw.gradient_flow_solutions(tw.ScalarNetwork(depth=2), []) == []


def test_the_same_start_twice_is_the_same_flow_twice():
    problem, w = cases.scalar_network()
    one, other = tw.gradient_flow_solutions(problem, [w, w], method=Stabilized(), lanes=2)
    assert one.sharpness == other.sharpness


def test_progress_of_many_flows_is_shown(capsys):
    problem, w = cases.scalar_network()
    solutions = tw.gradient_flow_solutions(
        problem, [w, 1.1 * w], method=Stabilized(), lanes=2, report=tw.progress()
    )
    assert all(s.converged for s in solutions)
