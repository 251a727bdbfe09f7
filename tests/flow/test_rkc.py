"""RKC2 as a diffrax solver, used by itself."""

from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from thalweg.flow import RKC2, StepControl
from thalweg.flow.rkc import stages
from thalweg.flow.step import start, trial_step
from thalweg.problems import flatten

FIXED = diffrax.ConstantStepSize()


@partial(eqx.filter_jit, donate="none")
def integrate(field, solver, y0, t1, step, args=None, controller=FIXED, saveat=None):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        jnp.asarray(0.0),
        t1,
        step,
        y0,
        args=args,
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(t1=True) if saveat is None else saveat,
        max_steps=10_000,
    )


@eqx.filter_jit
def one_step(field, y0, step, radius):
    """Return the end of one step of RKC2, and its error estimate."""
    solver, term, t0 = RKC2(radius), diffrax.ODETerm(field), jnp.asarray(0.0)
    state = solver.init(term, t0, step, y0, None)
    y1, error, *_ = solver.step(term, t0, step, y0, None, state, made_jump=False)
    return y1, error


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


# y' = -Q (z ∘ z ∘ z) with z = Qᵀ y decouples into z' = -z³, so z(t) = z(0) / √(1 + 2 t z(0)²).
Q = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0])
Y0 = Q @ jnp.array([1.0, -0.8, 0.6, 1.2])


def cubic(t, y, args):
    return -Q @ (Q.T @ y) ** 3


def cubic_solution(t):
    z = Q.T @ Y0
    return Q @ (z / jnp.sqrt(1 + 2 * t * z**2))


# With the larger radius the steps have 3 to 9 stages: the order must not rest on s = 2.
@pytest.mark.parametrize("radius", [5.0, 500.0])
def test_the_order_of_convergence_is_two(radius):
    counts = np.array([16, 32, 64, 128])
    errors = [
        jnp.linalg.norm(
            integrate(cubic, RKC2(radius), Y0, jnp.asarray(1.0), jnp.asarray(1 / k)).ys[-1]
            - cubic_solution(1.0)
        )
        for k in counts
    ]
    assert slope(1 / counts, errors) == pytest.approx(2, abs=0.1)


@pytest.mark.slow
def test_the_order_is_two_where_the_field_depends_on_time():
    def field(t, y, args):  # y = cos t is the solution from 1
        return -5 * (y - jnp.cos(t)) - jnp.sin(t)

    counts = np.array([64, 128, 256, 512])  # the radius keeps the stages at 6
    errors = [
        abs(
            integrate(
                field, RKC2(8.0 * k), jnp.asarray(1.0), jnp.asarray(2.0), jnp.asarray(2 / k)
            ).ys[-1]
            - jnp.cos(2.0)
        )
        for k in counts
    ]
    assert slope(2 / counts, errors) == pytest.approx(2, abs=0.1)


def test_the_error_estimate_is_of_the_size_of_the_local_error():
    steps = 0.4 / 2.0 ** np.arange(5)
    results = [one_step(cubic, Y0, jnp.asarray(h), jnp.asarray(20.0)) for h in steps]
    estimates = np.array([float(jnp.linalg.norm(error)) for _, error in results])
    errors = np.array(
        [
            float(jnp.linalg.norm(y - cubic_solution(h)))
            for (y, _), h in zip(results, steps, strict=True)
        ]
    )
    assert slope(steps[2:], estimates[2:]) == pytest.approx(3, abs=0.15)
    assert slope(steps[2:], errors[2:]) == pytest.approx(3, abs=0.15)
    assert np.all((estimates / errors > 0.2) & (estimates / errors < 10))


def test_the_error_estimate_has_the_scale_of_the_local_error():
    """With many stages the local error is `h³/15` for `y' = -y`, and the estimate 9/5 of that."""
    step, radius, error = 0.01, 2e5, 0.01**3 / 15
    y, estimate = one_step(Linear(jnp.ones(1)), jnp.ones(1), jnp.asarray(step), jnp.asarray(radius))
    assert abs(float(y[0]) - np.exp(-step)) == pytest.approx(error, rel=0.04)
    assert abs(float(estimate[0])) == pytest.approx(1.8 * error, rel=0.04)
    # A trial step down a parabola tells its estimate by what it takes, and proposes next.
    problem, w = flatten(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(1))
    begin, control = start(problem, w, step), StepControl(safety=1.0)
    trial = trial_step(problem, begin, radius, 3 * error, np.inf, control)
    factor = float(trial.state.step) / step
    assert trial.taken
    assert 3 / factor**3 == pytest.approx(1.8, rel=0.04)
    refused = trial_step(problem, begin, radius, 1.7 * error, np.inf, control)
    assert not refused.taken
    # What is kept is the sum of the estimates of steps that were taken.
    assert float(refused.state.errors) == 0
    assert float(trial.state.errors) == pytest.approx(1.8 * error, rel=0.04)
    again = trial_step(problem, trial.state, radius, np.inf, 2 * step, control)
    assert float(again.state.errors) == pytest.approx(2 * 1.8 * error, rel=0.04)


@pytest.mark.parametrize(
    ("step", "radius", "expected"),
    [(1.0, 0.0, 2), (1.0, 1.9, 2), (1.0, 2.0, 3), (0.5, 2 * 653.0, 32), (0.6, 250_000.0, 480)],
)
def test_the_number_of_stages(step, radius, expected):
    assert int(stages(jnp.asarray(step), jnp.asarray(radius))) == expected
    assert step * radius <= 0.653 * (expected**2 - 1) + 1e-9


def amplification(spectrum, step, radius, steps=1):
    """Return `|R(-h λ)|` for each `λ` of `spectrum`."""
    y = jnp.ones_like(spectrum)
    for _ in range(steps):
        y = one_step(Linear(spectrum), y, jnp.asarray(step), jnp.asarray(radius))[0]
    return np.abs(np.asarray(y))


class Linear(eqx.Module):
    spectrum: jax.Array

    def __call__(self, t, y, args):
        return -self.spectrum * y


RADIUS = 0.653 * 499.9**2  # where 500 stages are needed


def test_500_stages_are_stable_up_to_the_bound():
    assert int(stages(jnp.asarray(1.0), jnp.asarray(RADIUS))) == 500
    spectrum = jnp.concatenate([jnp.linspace(0.0, RADIUS, 3000), jnp.geomspace(1e-6, RADIUS, 1000)])
    factors = amplification(spectrum, 1.0, RADIUS)
    assert factors.max() <= 1 + 1e-9
    # Stiff parts are damped, by about a twentieth (1 - ε/3 with ε = 2/13).
    assert factors[spectrum > 10].max() < 0.96
    # Slow ones are followed.
    slow = spectrum < 1e-2
    np.testing.assert_allclose(factors[slow], np.exp(-spectrum[slow]), rtol=1e-6)


def test_500_stages_do_not_accumulate_what_is_stable():
    spectrum = jnp.linspace(1.0, RADIUS, 1000)
    assert amplification(spectrum, 1.0, RADIUS, steps=50).max() < 0.96**50


def test_beyond_the_bound_the_method_is_unstable():
    beyond = jnp.array([1.02 * RADIUS, 1.05 * RADIUS])
    assert amplification(beyond, 1.0, RADIUS).min() > 2


@pytest.mark.slow
def test_a_stiff_nonlinear_problem_agrees_with_lsoda_and_kvaerno5():
    stiffness = jnp.geomspace(1.0, 1e3, 6)

    def field(t, y, args):  # a gradient field: the Jacobian is symmetric
        return -stiffness * jnp.sinh(y) - 0.5 * jnp.sum(jnp.tanh(y)) / jnp.cosh(y) ** 2

    y0, t1 = jnp.linspace(1.0, -0.5, 6), 0.7
    controller = diffrax.PIDController(rtol=1e-9, atol=1e-11)
    dt = jnp.asarray(1e-5)
    radius = 1e3 * np.cosh(1.0) + 10
    ours = integrate(field, RKC2(radius), y0, jnp.asarray(t1), dt, controller=controller)
    implicit = integrate(
        field,
        diffrax.Kvaerno5(),
        y0,
        jnp.asarray(t1),
        dt,
        controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
    )
    compiled = jax.jit(lambda y: field(0.0, y, None))
    lsoda = solve_ivp(lambda t, y: compiled(y), (0, t1), y0, method="LSODA", rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ours.ys[-1], implicit.ys[-1], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.ys[-1], lsoda.y[:, -1], rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_the_spectral_radius_may_be_a_callable():
    def fall(t, y, rate):
        return -rate * (1 + jnp.sum(y**2)) * y

    def radius(t, y, rate):
        return rate * (1 + 3 * jnp.sum(y**2))

    y0, t1, step = jnp.array([2.0, -1.0]), jnp.asarray(1.0), jnp.asarray(1 / 256)
    rate = jnp.asarray(100.0)
    called = integrate(fall, RKC2(radius), y0, t1, step, rate).ys[-1]
    constant = integrate(fall, RKC2(100.0 * 16), y0, t1, step, rate).ys[-1]
    assert bool(jnp.all(jnp.isfinite(called)))
    np.testing.assert_allclose(called, constant, atol=1e-3)
    # It is used: with a radius that ignores the stiffness the same steps blow up.
    wrong = integrate(fall, RKC2(lambda t, y, rate: 0.0 * rate), y0, t1, step, rate).ys[-1]
    assert not np.allclose(wrong, constant, atol=1e-3)


@pytest.mark.slow
def test_pytrees_are_integrated_like_vectors():
    def flat(t, y, args):
        return -jnp.array([1.0, 10.0, 100.0]) * jnp.sin(y)

    def tree(t, y, args):
        end = flat(t, jnp.concatenate([y["a"], y["b"][0][None]]), args)
        return {"a": end[:2], "b": (end[2],)}

    y0, t1, step = jnp.array([1.0, 0.5, -1.0]), jnp.asarray(1.0), jnp.asarray(1 / 16)
    vector = integrate(flat, RKC2(100.0), y0, t1, step).ys[-1]
    ys = integrate(tree, RKC2(100.0), {"a": y0[:2], "b": (y0[2],)}, t1, step).ys
    np.testing.assert_allclose(ys["a"][-1], vector[:2], rtol=1e-13)
    np.testing.assert_allclose(ys["b"][0][-1], vector[2], rtol=1e-13)


@pytest.mark.slow
def test_dense_output_is_of_order_two_or_better_between_the_steps():
    times = jnp.linspace(0.0, 1.0, 101)
    counts = np.array([16, 32, 64, 128])
    errors = []
    for k in counts:
        saveat = diffrax.SaveAt(ts=times)
        found = integrate(cubic, RKC2(5.0), Y0, jnp.asarray(1.0), jnp.asarray(1 / k), saveat=saveat)
        errors.append(float(jnp.max(jnp.abs(found.ys - jax.vmap(cubic_solution)(times)))))
    assert slope(1 / counts, errors) == pytest.approx(2, abs=0.15)


def test_a_step_costs_as_many_evaluations_as_it_has_stages():
    calls = []

    def field(t, y, args):
        jax.debug.callback(lambda: calls.append(1))
        return -(y**3)

    steps, radius = 4, 2000.0
    integrate(field, RKC2(radius), jnp.ones(2), jnp.asarray(1.0), jnp.asarray(1 / steps))
    jax.effects_barrier()
    per_step = int(stages(jnp.asarray(1 / steps), jnp.asarray(radius)))
    assert per_step == 28
    assert len(calls) == 1 + steps * per_step  # the first is f(t0, y0)


def test_float32_stays_float32():
    y0 = jnp.ones(3, jnp.float32)
    t1, step = jnp.asarray(1.0, jnp.float32), jnp.asarray(0.1, jnp.float32)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -y),
        RKC2(jnp.asarray(100.0, jnp.float32)),
        jnp.asarray(0.0, jnp.float32),
        t1,
        step,
        y0,
        stepsize_controller=FIXED,
    ).ys
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[-1], np.exp(-1.0), rtol=2e-3)
