"""Reference sharpness at the limit of each hard flow, by integrators that share nothing with it.

    python benchmarks/references.py [name ...]

Computes the named entries of `hard_flows.FLOWS`, or all, and updates `references.json` one by one.
Only losses and residuals come from thalweg; derivatives, flows and eigenvalues are made here.

Small problems are integrated by SciPy's Radau IIA with the dense Hessian. Large least-squares
problems, `L = ½ ‖r‖²`, are integrated by extrapolating the linearly implicit Euler method (Hairer &
Wanner, Solving Ordinary Differential Equations II, IV.9): a basic step `H` takes, for
`n = 1, 2, ..., COLUMNS`, `n` substeps `h = H/n` with `(I + h JᵀJ) d = -h ∇L`, where `J = ∂r/∂w` is
frozen over the basic step, and Aitken-Neville in `h` gives `w(t + H)` to order `COLUMNS`. The
systems are solved among the residuals, `(I + h JᵀJ)⁻¹ b = b - h Jᵀ (I + h JJᵀ)⁻¹ J b`. Each flow is
integrated at two tolerances; the relative difference of the sharpness is its `uncertainty`. The
loss at the `start` tells whether it is the same elsewhere: descent at the edge amplifies how a
machine rounds.

Where that takes too long, the flow is followed by SSV2stab of extensisq, a stabilised Runge-Kutta
method of order 2 that knows nothing of this package, at three tolerances: the value is that of the
finest, the uncertainty its difference from the next, which is several times the error left.

A network of ReLU units slides along kinks, where the sharpness of the limit depends on the side
that is taken of each: its entry is an interval, of the values that two explicit methods with fixed
steps, Euler's and the classical Runge-Kutta method, find from three points of their ways.
"""

import json
import sys
import time
from pathlib import Path

import extensisq
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.optimize import root
from scipy.sparse.linalg import LinearOperator, eigsh

from hard_flows import FLOWS

RESULTS = Path(__file__).with_name("references.json")
COLUMNS = 7
SMALL = 1000
SETTLED_LOSS = 1e-25
KINKED = ("ReLU digits",)
LONG = {  # and the finest tolerance that it takes
    "tanh digits, step 12,000": 1e-9,
    "tanh digits, peak of an oscillation": 1e-9,
    "tanh digits, far start": 1e-10,
}
SETTLED = 1e-9  # relative change of the sharpness while the work doubles
LATEST = 1e12  # time


class Flat:
    """A flow of one vector: the residuals, their derivatives and those of the loss, compiled."""

    def __init__(self, hard):
        self.hard = hard
        self.start, self.unravel = ravel_pytree(hard.w)

        def residuals(w):
            return hard.problem.residuals(self.unravel(w))

        def loss(w):
            return jnp.sum(residuals(w) ** 2) / 2

        gradient = jax.grad(loss)
        self.residuals = jax.jit(residuals)
        self.loss = jax.jit(loss)
        self.gradient = jax.jit(gradient)
        self.hessian = jax.jit(jax.hessian(loss))
        self.hessian_product = jax.jit(lambda w, v: jax.jvp(gradient, (w,), (v,))[1])
        self.jacobian = jax.jit(jax.jacrev(residuals))
        self.product = jax.jit(lambda w, v: jax.jvp(residuals, (w,), (v,))[1])
        self.transposed = jax.jit(lambda w, u: jax.vjp(residuals, w)[1](u)[0])
        self._layered = jax.jit(lambda w: layered_kernel(hard.problem, self.unravel(w)))

    def kernel(self, w):
        """Return the tangent kernel `JJᵀ`, shape `(m, m)`."""
        if isinstance(self.hard.w, list):
            return np.asarray(self._layered(w))
        jacobian = np.asarray(self.jacobian(w))
        return jacobian @ jacobian.T

    def sharpness(self, w):
        """Return the largest eigenvalue of the Hessian at `w`."""
        if w.size <= SMALL:
            return float(eigvalsh(self.hessian(w))[-1])
        operator = LinearOperator(
            (w.size, w.size), lambda v: np.asarray(self.hessian_product(w, v.ravel())), dtype=float
        )
        return float(eigsh(operator, k=1, which="LA", tol=1e-12)[0][0])


def layered_kernel(problem, layers):
    """Return `JJᵀ` of a perceptron from its layers, many times faster than from `J`.

    With `D` the derivatives of the residuals by the biases of a layer and `A` its inputs, the layer
    adds `(D Dᵀ) ∘ (1 + A Aᵀ)`.
    """

    def outputs(biases, x):
        changed = [{**layer, "bias": bias} for layer, bias in zip(layers, biases, strict=True)]
        return problem.predict(changed, x[None])[0]

    biases = [layer["bias"] for layer in layers]
    by_bias = jax.vmap(jax.jacrev(outputs), (None, 0))(biases, problem.x)
    kernel = 0.0
    for i, d in enumerate(by_bias):
        n, o, width = d.shape
        identity = jnp.eye(layers[i]["weight"].shape[0])
        inputs = problem.predict(
            [*layers[:i], {"weight": identity, "bias": jnp.zeros(len(identity))}], problem.x
        )
        d = d.reshape(n * o, width)
        gram = (d @ d.T).reshape(n, o, n, o)
        kernel += gram * (1 + inputs @ inputs.T)[:, None, :, None] / n
    return kernel.reshape(n * o, n * o)


def substeps(flow, w, kernel, h, count):
    """Take `count` linearly implicit Euler steps of size `h`, with `J` frozen at `w`."""
    system = h * kernel
    system[np.diag_indices_from(system)] += 1.0
    factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
    now = w
    for _ in range(count):
        gradient = flow.gradient(now)
        inner = cho_solve(factor, np.asarray(flow.product(w, gradient)), check_finite=False)
        now = now - h * (gradient - h * flow.transposed(w, inner))
    return np.asarray(now)


def basic_step(flow, w, kernel, H):
    """Return `w` after a time `H` by extrapolation, and the last correction's norm."""
    row = []
    for n in range(1, COLUMNS + 1):
        above, row = row, [substeps(flow, w, kernel, H / n, n)]
        for k in range(1, n):
            row.append(row[-1] + (row[-1] - above[k - 1]) / (n / (n - k) - 1))
    return row[-1], float(np.linalg.norm(row[-1] - row[-2]))


def extrapolate(flow, tolerance):
    """Return the limit of the flow, with a correction below `tolerance |w|` in every step."""
    w = np.asarray(flow.start)
    kernel = flow.kernel(w)
    H = 1 / np.trace(kernel)
    while flow.loss(w) > SETTLED_LOSS:
        candidate, correction = basic_step(flow, w, kernel, H)
        error = correction / (tolerance * np.linalg.norm(w))
        if error <= 1:
            w, kernel = candidate, flow.kernel(candidate)
        factor = 0.8 * max(error, 1e-30) ** (-1 / COLUMNS) if np.isfinite(error) else 0.0
        H *= min(max(factor, 0.1), 30.0)
    return w


def radau(flow, rtol):
    """Return the limit of the flow by SciPy, once two decades of time change nothing."""

    def right(t, w):
        return -np.asarray(flow.gradient(w))

    def jacobian(t, w):
        return -np.asarray(flow.hessian(w))

    w, t, last = np.asarray(flow.start), 0.0, []
    for end in 10.0 ** np.arange(0, 16):
        solution = solve_ivp(
            right, (t, end), w, method="Radau", jac=jacobian, rtol=rtol, atol=rtol / 100
        )
        assert solution.success, solution.message
        w, t = solution.y[:, -1], end
        last.append(flow.sharpness(w))
        size = float(np.linalg.norm(flow.gradient(w)))
        if size < 1e-11 and len(last) > 2 and np.ptp(last[-3:]) < 1e-10 * last[-1]:
            return w
    raise RuntimeError("the flow has not settled")


def by_ssv2stab(flow, rtol):
    """Return the limit of the flow by extensisq, once doubling the work changes nothing."""
    steps = extensisq.SSV2stab(
        lambda t, w: -np.asarray(flow.gradient(w)),
        0.0,
        np.asarray(flow.start),
        t_bound=LATEST,
        first_step=0.1 / flow.sharpness(flow.start),
        rtol=rtol,
        atol=0.1 * rtol,
    )
    mark, before = 1000, np.inf
    while steps.status == "running" and flow.loss(steps.y) > SETTLED_LOSS:
        steps.step()
        if steps.nfev < mark:
            continue
        sharpness = flow.sharpness(steps.y)
        print(f"  {steps.nfev} evaluations, time {steps.t:.3g}, {sharpness:.10g}", flush=True)
        if abs(sharpness - before) <= SETTLED * sharpness:
            break
        mark, before = 2 * steps.nfev, sharpness
    return steps.y


def long_reference(flow, finest):
    """Return the entry of a flow by SSV2stab, from integrations at three tolerances."""
    tolerances = 100 * finest, 10 * finest, finest
    ends = [by_ssv2stab(flow, tolerance) for tolerance in tolerances]
    rough, middle, fine = (flow.sharpness(w) for w in ends)
    return {
        "value": fine,
        "uncertainty": abs(middle / fine - 1),
        "method": f"SSV2stab of extensisq, tolerance {tolerances[2]:g} (uncertainty: against "
        f"{tolerances[1]:g}; {tolerances[0]:g} differs from that by {abs(rough / middle - 1):.0e})",
        "loss": float(flow.loss(ends[-1])),
    }


def scalar_closed_form(flow):
    """Return the sharpness at the limit from the balances `w_i² - w_j²`, by mpmath."""
    with mpmath.workdps(30):
        squares = [mpmath.mpf(float(a)) ** 2 for a in flow.start]
        balances = [a - min(squares) for a in squares]
        x = mpmath.findroot(
            lambda x: mpmath.fprod(x + b for b in balances) - 1, (0, 1), solver="anderson"
        )
        return float(sum(1 / (x + b) for b in balances))


def squared_closed_form(flow):
    """Return the sharpness at the limit `u e^z, v e^-z`, `z` in the row space of `X`."""
    problem, start = flow.hard.problem.inner, flow.hard.w
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    u, v = np.asarray(start["u"]), np.asarray(start["v"])

    def parts(dual):
        z = x.T @ dual
        return u * np.exp(z), v * np.exp(-z)

    def misfit(dual):
        a, b = parts(dual)
        return x @ (a**2 - b**2) - y

    def slope(dual):
        a, b = parts(dual)
        return (x * 2 * (a**2 + b**2)) @ x.T

    dual = root(misfit, np.zeros(len(y)), jac=slope, tol=1e-14).x
    assert np.linalg.norm(misfit(dual)) < 1e-12
    a, b = parts(dual)
    jacobian = 2 * np.hstack([x * a, -x * b]) / np.sqrt(len(y))
    return float(np.linalg.norm(jacobian, 2) ** 2)


def by_extrapolation(flow):
    return flow.sharpness(extrapolate(flow, 1e-10))


CHECKS = {
    "scalar network": {"closed form": scalar_closed_form, "extrapolation": by_extrapolation},
    "squared regression": {"closed form": squared_closed_form, "extrapolation": by_extrapolation},
    "deep linear": {"extrapolation": by_extrapolation},
}


def smooth_reference(flow):
    """Return the entry of a flow without kinks, from integrations at two tolerances."""
    if flow.start.size <= SMALL:
        integrate, tolerances, method = radau, (1e-9, 1e-11), "SciPy's Radau, dense Hessian, rtol"
    else:
        integrate, tolerances = extrapolate, (1e-7, 1e-9)
        method = f"linearly implicit Euler, {COLUMNS} columns of extrapolation, step tolerance"
    rough, fine = (integrate(flow, tolerance) for tolerance in tolerances)
    value = flow.sharpness(fine)
    return {
        "value": value,
        "uncertainty": abs(flow.sharpness(rough) / value - 1),
        "method": f"{method} {tolerances[1]:g} (uncertainty: against {tolerances[0]:g})",
        "loss": float(flow.loss(fine)),
    }


def euler(velocity, w, h):
    return w + h * velocity(w)


def runge_kutta4(velocity, w, h):
    k1 = velocity(w)
    k2 = velocity(w + h / 2 * k1)
    k3 = velocity(w + h / 2 * k2)
    k4 = velocity(w + h * k3)
    return w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


EXPLICIT = {"Euler, step 0.5/λ": (euler, 0.5), "RK4, step 2/λ": (runge_kutta4, 2.0)}
LEAVES = (1e-6, 3e-7, 1e-7)  # the losses at which the explicit methods are left


def gauss_newton(flow, w):
    """Return the point of zero loss that repeated minimum-norm Gauss-Newton steps lead to."""
    for _ in range(10):
        kernel = np.array(flow.kernel(w))
        kernel[np.diag_indices_from(kernel)] += 1e-12 * np.trace(kernel) / len(kernel)
        w = w - np.asarray(flow.transposed(w, cho_solve(cho_factor(kernel), flow.residuals(w))))
    return w


def explicit_limits(flow, step, share):
    """Follow the flow by a fixed step of `share / λ`; return the sharpness seen from each leave."""
    w, found = jnp.asarray(flow.start), []
    h = share / (1.2 * flow.sharpness(w))  # the sharpness rises along the way

    @jax.jit
    def many(w):
        return jax.lax.fori_loop(0, 500, lambda _, w: step(lambda v: -flow.gradient(v), w, h), w)

    for leave in LEAVES:
        while float(flow.loss(w)) > leave:
            w = many(w)
        found.append(flow.sharpness(gauss_newton(flow, np.asarray(w))))
    return found


def kinked_reference(flow):
    """Return the entry of a flow with kinks."""
    values = {name: explicit_limits(flow, *method) for name, method in EXPLICIT.items()}
    flat = [value for found in values.values() for value in found]
    return {"interval": [min(flat), max(flat)], "values": values, "left at losses": LEAVES}


def main():
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or FLOWS:
        begin = time.perf_counter()
        flow = Flat(FLOWS[name]())
        if name in LONG:
            entry = long_reference(flow, LONG[name])
        else:
            entry = (kinked_reference if name in KINKED else smooth_reference)(flow)
        entry["start"] = float(flow.loss(flow.start))
        entry["seconds"] = round(time.perf_counter() - begin, 1)
        if name in CHECKS:
            entry["checks"] = {label: check(flow) for label, check in CHECKS[name].items()}
        store(name, entry)
        print(f"{name}: {entry}", flush=True)


def store(name, entry):
    """Add the entry to the results, in the order of `FLOWS`."""
    entries = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    entries[name] = entry
    ordered = {name: entries[name] for name in FLOWS if name in entries}
    RESULTS.write_text(json.dumps(ordered, indent=2) + "\n")


if __name__ == "__main__":
    main()
