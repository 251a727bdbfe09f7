"""The GFS sharpness of the main job at step 1000, by a computation that shares nothing with thalweg.

    python benchmarks/main_job_reference.py

Plain JAX and SciPy: the classical Runge–Kutta method with steps of 2.5/sharpness to time 30,000,
the minimum-norm solution of the linearised residuals by LSMR, the top eigenvalue by ARPACK. About
550,000 gradients: 10 to 20 minutes. The result stands in `main_job_flow.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse.linalg import LinearOperator, eigsh, lsmr
from sklearn.datasets import load_digits

HORIZON, SHARPNESS = 30_000.0, 11.6  # an upper bound of the sharpness along this flow


def problem():
    data = load_digits()
    deviation = data.data.std(axis=0)
    x = (data.data - data.data.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    x, y = jnp.asarray(x[:300]), jnp.asarray(np.eye(10)[data.target[:300]])
    layers, key = [], jax.random.key(0)
    for fan_in, fan_out in ((64, 64), (64, 64), (64, 10)):
        key, of_weight = jax.random.split(key)
        weight = jax.random.normal(of_weight, (fan_in, fan_out)) / np.sqrt(fan_in)
        layers.append((weight, jnp.zeros(fan_out)))
    w, unravel = ravel_pytree(layers)

    def residuals(w):
        h = x
        *hidden, (last, bias) = unravel(w)
        for weight, b in hidden:
            h = jnp.tanh(h @ weight + b)
        return ((h @ last + bias - y) / np.sqrt(300)).ravel()

    return residuals, w


def main():
    jax.config.update("jax_enable_x64", True)
    residuals, w = problem()

    def loss(w):
        r = residuals(w)
        return 0.5 * r @ r

    gradient = jax.grad(loss)
    w = jax.jit(lambda w: jax.lax.fori_loop(0, 1000, lambda _, w: w - 0.23 * gradient(w), w))(w)

    step = 2.5 / SHARPNESS

    def runge_kutta(_, w):
        k1 = -gradient(w)
        k2 = -gradient(w + step / 2 * k1)
        k3 = -gradient(w + step / 2 * k2)
        k4 = -gradient(w + step * k3)
        return w + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    advance = jax.jit(lambda w: jax.lax.fori_loop(0, 1000, runge_kutta, w))
    time = 0.0
    while time < HORIZON:
        w, time = advance(w), time + 1000 * step
        print(f"time {time:.0f} loss {float(loss(w)):.3e}", flush=True)

    r, product = jax.linearize(residuals, w)
    transpose = jax.jit(jax.linear_transpose(product, w))
    product = jax.jit(product)
    jacobian = LinearOperator(
        (r.size, w.size),
        matvec=lambda v: np.asarray(product(jnp.asarray(v).ravel())),
        rmatvec=lambda u: np.asarray(transpose(jnp.asarray(u).ravel())[0]),
        dtype=float,
    )
    delta = lsmr(jacobian, -np.asarray(r), atol=1e-10, btol=1e-10, maxiter=20_000)[0]
    w = w + delta
    hessian = jax.jit(jax.linearize(gradient, w)[1])
    operator = LinearOperator(
        (w.size, w.size), matvec=lambda v: np.asarray(hessian(jnp.asarray(v).ravel())), dtype=float
    )
    value = eigsh(operator, k=1, which="LA", tol=1e-10)[0][0]
    length = float(np.linalg.norm(delta))
    print(f"GFS sharpness {value:.8f}, loss {float(loss(w)):.2e}, last step {length:.2e}")


if __name__ == "__main__":
    main()
