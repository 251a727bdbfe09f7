"""Sweeps against plain NumPy, one run at a time, and against what is known exactly."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.scalar import sweep as sweep_module
from thalweg.scalar.descent import gradient_step, sharpness_near_minimum


def path(w, eta, steps, y):
    """The iterates, by division (no coordinate is zero here)."""
    found = [np.array(w, float)]
    for _ in range(steps):
        w = found[-1]
        found.append(w - eta * (np.prod(w) - y) * np.prod(w) / w)
    return np.array(found)


def hessian(w, y):
    inverse, product = 1 / w, np.prod(w)
    full = (2 * product - y) * product * np.outer(inverse, inverse)
    return full - np.diag(product * (product - y) * inverse**2)


def starts(number, depth, seed=0):
    return np.exp(0.5 * np.random.default_rng(seed).standard_normal((number, depth)))


@pytest.mark.parametrize(("depth", "target"), [(2, 1.0), (5, 2.5)])
def test_every_run_is_the_one_that_numpy_follows(depth, target):
    ws, steps, margin = starts(12, depth), 200, 0.1
    # Step sizes in units of the largest with a stable minimum.
    largest = 2 / (depth * target ** (2 - 2 / depth))
    sizes = largest * np.array([0.3, 0.8, 0.95])
    found = tw.scalar_sweep(ws, sizes, steps, target=target, margin=margin)
    assert found.outcome.shape == (3, 12)
    seen = set()
    for (r, eta), (i, w) in itertools.product(enumerate(sizes), enumerate(ws)):
        with np.errstate(over="ignore", invalid="ignore"):
            iterates = path(w, eta, steps, target)
            losses = 0.5 * (np.prod(iterates, axis=1) - target) ** 2
            left = not np.all(iterates > 0)
        kind = tw.ScalarOutcome(found.outcome[r, i])
        seen.add(kind)
        if not losses[-1] < 1e6 * target**2:
            assert kind is tw.ScalarOutcome.DIVERGED
            continue
        assert (kind is tw.ScalarOutcome.LEFT_ORTHANT) == left
        if losses[-1] > 1e-12 * target**2:
            assert math.isnan(found.sharpness[r, i])
            continue
        assert found.loss[r, i] < 1e-12 * target**2
        truth = np.linalg.eigvalsh(hessian(iterates[-1], target))[-1]
        assert found.sharpness[r, i] == pytest.approx(truth, rel=1e-9)
        rises = np.sum(np.diff(losses) > 1e-24 * target**2)
        assert (found.loss_rises[r, i] == 0) == (rises == 0)
        assert found.loss_rises[r, i] >= rises
        if left:
            continue
        if rises == 0:
            assert kind is tw.ScalarOutcome.MONOTONE
        else:
            at_edge = eta * truth >= 2 - margin
            wanted = "EDGE_OF_STABILITY" if at_edge else "FLATTER"
            assert kind is tw.ScalarOutcome[wanted]
    assert len(seen) >= 4, seen
    np.testing.assert_array_equal(found.counts().sum(axis=1), 12)


@pytest.mark.parametrize("every", [1, 7])
def test_falls_of_the_gfs_sharpness_are_counted_as_they_are(every):
    ws, eta, steps = starts(8, 4, seed=1), 0.25, 60
    found = tw.scalar_sweep(ws, eta, steps, gfs_every=every)
    network = tw.ScalarNetwork(4)
    wanted = np.zeros((3, 8), int)
    for i, w in enumerate(ws):
        with np.errstate(over="ignore", invalid="ignore"):
            iterates = path(w, eta, steps, 1.0)
        inside = np.logical_and.accumulate(np.all(iterates > 0, axis=1))
        for a in range(0, steps - every + 1, every):
            if not inside[a + every] or 0.5 * (np.prod(iterates[a]) - 1) ** 2 <= 1e-12:
                break
            at = network.flow_limits(iterates[[a, a + every]])
            fall, doubt = at.sharpness[0] - at.sharpness[1], at.error.sum()
            wanted[:, i] += (fall > doubt, -fall > doubt, abs(fall) <= doubt)
    np.testing.assert_array_equal([found.falls[0], found.rises[0], found.undecided[0]], wanted)
    assert found.falls.sum() > 50 / every


def test_a_rise_is_counted_as_one():
    # Far above the threshold, here at φ = 9.9 / η, a step may raise φ: from 12.98 to 41.28.
    w, eta = np.array([0.6, 4.93, 0.13]), 0.8
    found = tw.scalar_sweep([w], eta, 1, gfs_every=1)
    assert (found.falls[0, 0], found.rises[0, 0], found.undecided[0, 0]) == (0, 1, 0)
    limits = tw.ScalarNetwork(3).flow_limits(path(w, eta, 1, 1.0))
    assert limits.sharpness.tolist() == pytest.approx([12.98, 41.28], abs=0.01)


@pytest.mark.parametrize(
    ("step_size", "outcome"),
    [
        (0.4, "MONOTONE"),  # step_size times the sharpness of the minimum, 2: below 1
        (0.96, "EDGE_OF_STABILITY"),
        (1.1, "PERIOD_2"),
        (1.4, "IRREGULAR"),
    ],
)
def test_balanced_starts_of_depth_two_are_a_map_of_one_number(step_size, outcome):
    # x' = x - η (x² - 1) x doubles its period at η = 1 and 1 + √5 - 2 = 1.236.
    found = tw.scalar_sweep([[0.9, 0.9]], step_size, 4000)
    assert found.outcome[0, 0] == tw.ScalarOutcome[outcome]


@pytest.mark.parametrize(
    ("w", "step_size", "steps", "outcome"),
    [
        ([3.0, 3.0], 1 / 8, 5, "LEFT_ORTHANT"),  # onto the saddle (0, 0) in one step
        ([10.0, 10.0], 1.0, 50, "DIVERGED"),
        ([1.3, 0.2], 0.01, 10, "UNFINISHED"),
        ([1.6, 0.6], 0.8, 3000, "FLATTER"),
        ([-1.3, -0.7], 0.1, 500, "MONOTONE"),  # the orthant is that of the start
    ],
)
def test_ends_that_are_known(w, step_size, steps, outcome):
    found = tw.scalar_sweep([w], step_size, steps)
    assert tw.ScalarOutcome(found.outcome[0, 0]).name == outcome


@pytest.mark.slow
def test_runs_do_not_depend_on_their_company(monkeypatch):
    ws, sizes = starts(40, 3), [0.2, 0.6]
    whole = tw.scalar_sweep(ws, sizes, 100, gfs_every=10)
    monkeypatch.setattr(sweep_module, "_CACHE", 8 * 20 * 64)
    monkeypatch.setattr(sweep_module, "_CHUNKS_PER_CALL", 1)
    done = []
    parts = tw.scalar_sweep(ws, sizes, 100, gfs_every=10, report=done.append)
    assert sorted(done)[-1] == 80
    assert len(done) == 2  # 64 runs, and 16 with padding
    for name in ("outcome", "loss", "sharpness", "loss_rises", "falls", "rises", "undecided"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)


@pytest.mark.slow
def test_targets_are_a_matter_of_units():
    ws, depth, y = starts(30, 3), 3, 4.0
    one = tw.scalar_sweep(ws, 0.5, 300, gfs_every=5)
    other = tw.scalar_sweep(
        ws * y ** (1 / depth), 0.5 / y ** (2 - 2 / depth), 300, target=y, gfs_every=5
    )
    np.testing.assert_array_equal(one.outcome, other.outcome)
    np.testing.assert_allclose(other.sharpness, one.sharpness * y ** (2 - 2 / depth), rtol=1e-8)


@pytest.mark.slow
def test_steps_serve_zeros_and_the_sharpness_is_of_first_order():
    w = np.array([[1.2, 0.0], [0.7, 2.0], [1.1, 0.0]])
    after, loss = gradient_step(jnp.asarray(w), jnp.full(2, 0.1), jnp.asarray(1.5))
    assert loss.tolist() == pytest.approx([0.5 * (1.2 * 0.7 * 1.1 - 1.5) ** 2, 0.5 * 1.5**2])
    np.testing.assert_array_equal(after[:, 1], w[:, 1])  # two zeros: a saddle
    errors = []
    for offset in (1e-3, 1e-4):
        near = np.array([1.0 + offset, 2.0, 0.5])
        exact = np.linalg.eigvalsh(hessian(near, 1.0))[-1]
        errors.append(
            abs(
                float(sharpness_near_minimum(jnp.asarray(near[:, None]), jnp.asarray(1.0))[0])
                - exact
            )
        )
    assert errors[0] < 1e-4
    assert errors[1] < 0.02 * errors[0]  # of second order


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 2.0], 0.1, 5), {}, "shape"),
        (([[1.0]], 0.1, 5), {}, "D at least 2"),
        (([[1.0, math.nan]], 0.1, 5), {}, "finite"),
        (([[1.0, 1.0]], -0.1, 5), {}, "step_size"),
        (([[1.0, 1.0]], [], 5), {}, "step_size"),
        (([[1.0, 1.0]], 0.1, 0), {}, "steps must be an integer from 1"),
        (([[1.0, 1.0]], 0.1, 5), {"target": 0.0}, "target must be positive"),
        (([[1.0, 1.0]], 0.1, 5), {"gfs_every": -1}, "gfs_every must be an integer from 0"),
        (([[1.0, 1.0]], 0.1, 5), {"margin": 0.0}, "margin must be positive"),
        (([[1.0, 1.0]], [0.1, 0.2], 5), {"memory_limit": 65}, "2 runs need 66 bytes"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        tw.scalar_sweep(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_float32_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="switch on jax_enable_x64"):
        tw.scalar_sweep([[1.0, 1.0]], 0.1, 5)
