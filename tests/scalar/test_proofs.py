"""Every inequality that the proofs in docs/scalar-networks.md use, on random points and grids."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from marks import slow
from thalweg.scalar.flow_limit import solve_coordinates_first

PAGE = Path(__file__).parents[2] / "docs" / "scalar-networks.md"


def flow_squares(w):
    """Return `p = S(w)²` in the order of the coordinates, `w` of shape `(N, D)`, and `φ`."""
    found = solve_coordinates_first(jnp.asarray(w.T), jnp.ones(()))
    return np.asarray(found.limit).T ** 2, np.asarray(found.sharpness)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3, 6])
def test_theorem_2_step_by_step(depth):
    rng = np.random.default_rng(depth)
    n, slack = 20_000, 1 + 1e-10
    w = np.exp(10 ** rng.uniform(-2, 0.6, (n, 1)) * rng.standard_normal((n, depth)))
    pi = 10 ** rng.uniform(-4, 0, n)
    w = np.sort(w * (pi / np.prod(w, axis=1))[:, None] ** (1 / depth), axis=1)
    p, phi = flow_squares(w)
    eta = 2 * np.sqrt(2) / phi * np.where(rng.random(n) < 0.7, 1, rng.random(n))
    a, u, kappa = w**2, 1 / p, eta * (1 - pi) * pi
    np.testing.assert_allclose(np.prod(a * u, axis=1), pi**2, rtol=1e-9)
    assert np.all(a * u <= slack)
    assert np.all(a[:, 0] * a[:, 1] * slack >= pi**2 * eta**2 / 2)
    assert np.all(kappa**2 <= 2 * (1 - pi) ** 2 * a[:, 0] * a[:, 1] * slack)
    if depth > 2:
        assert np.all(kappa**2 <= a[:, 0] * a[:, 2] * slack)
    g = w + (kappa[:, None] / w)
    q, new_phi = flow_squares(g)
    gaps = (
        np.diff(g**2, axis=1),
        np.diff(a, axis=1) * (1 - kappa[:, None] ** 2 / (a[:, 1:] * a[:, :-1])),
    )
    np.testing.assert_allclose(*gaps, rtol=1e-6, atol=1e-9 * np.max(g) ** 2)
    swapped = kappa**2 > a[:, 0] * a[:, 1] * slack
    assert np.sum(swapped) > 50
    assert np.all((p[:, 0] <= q[:, 1] * slack)[swapped])
    partial = [np.cumsum(np.sort(np.log(x), axis=1), axis=1) for x in (p, q)]
    assert np.all(partial[0] <= partial[1] + 1e-9)
    assert np.all(new_phi <= phi * slack)


def test_theorem_3_bounds_on_the_loss():
    """(iii) on a grid of `e` and `δ`, up to the largest residual allowed."""
    delta = np.concatenate([np.geomspace(1e-6, 0.4, 200), np.linspace(0.4, 1.51, 200)])[:, None]
    gamma = np.minimum(delta, 0.4)
    f = gamma / 5 * np.linspace(0.002, 1, 300)[None]
    for sign in (1, -1):
        e = sign * f
        lower = -delta * e + (1 - delta) * e**2
        upper = -2 * np.log1p(e) + (2 - delta) * e * (1 + e)
        low = (1 - upper) / (1 + e) - 1
        high = np.exp(-lower) / (1 + e) - 1
        assert np.all(upper < 1)
        assert np.max(np.maximum(np.abs(low), np.abs(high)) / (np.sqrt(1 - gamma) * f)) <= 1
        tiny = 1e-15
        if sign > 0:
            assert np.all(low >= -(1 - delta) * e - 2 * e**2 - tiny)
            assert np.all(-lower <= 1.56 * e)
            assert np.all(high <= (delta - 1) * e + 1.29 * e**2 + tiny)
            assert np.all(high <= 0.62 * e)
        else:
            assert np.all(lower >= 0)
            assert np.all(low >= (1 - delta) * f - 2.25 * f**2 - tiny)
            assert np.all(low >= -0.69 * f)
            assert np.all(high <= (1 - delta) * f + lower**2 / (2 * (1 - f)) + tiny)
            near = delta[:, 0] <= 0.4
            assert np.all((high <= (1 - 0.6 * delta) * f + tiny)[near])
            assert np.all((high <= 0.76 * f)[~near])


@pytest.mark.parametrize("depth", [2, *slow(3, 10)])
def test_theorem_3_bound_on_the_sharpness(depth):
    """(i), (ii) and (iv) from the networks themselves."""
    rng = np.random.default_rng(depth)
    n = 20_000
    minimum = 10 ** rng.uniform(-1.5, 0.5, (n, 1)) * rng.standard_normal((n, depth))
    minimum = np.exp(minimum - np.mean(minimum, axis=1, keepdims=True))
    e = rng.uniform(0.02, 0.08, n) * rng.choice([-1, 1], n)
    w = minimum * (1 + e)[:, None] ** (1 / depth)
    p, phi = flow_squares(w)
    steep = rng.uniform(0.49, 2, n)
    eta = steep / phi
    alpha = 1 / (phi[:, None] * p)
    sigma = phi * (p - w**2)[np.arange(n), np.argmin(w, axis=1)]
    assert np.all((-2 * e - e**2 <= sigma + 1e-9) & (sigma <= -2 * np.log1p(e) + 1e-9))
    assert np.max(np.abs(sigma)) < 0.167
    g = w - (eta * e * (1 + e))[:, None] / w
    rho = sigma + steep * e * (1 + e)
    np.testing.assert_allclose(
        np.prod(g, axis=1), np.prod(1 - rho[:, None] * alpha, axis=1) / (1 + e), rtol=1e-9
    )
    q, new_phi = flow_squares(g)
    beta2 = (steep * e * (1 + e)) ** 2
    xi = q / p - 1
    bound = beta2 / (1 - np.maximum(sigma, 0))
    assert np.all(bound < 0.031)
    assert np.all(np.abs(xi) <= bound[:, None] * alpha + 1e-9)
    h = alpha / (1 - sigma[:, None] * alpha)
    mu = np.sum(alpha**2, axis=1)
    covariance = np.sum(alpha**2 * h, axis=1) - mu * np.sum(alpha * h, axis=1)
    variance = np.sum(alpha**3, axis=1) - mu**2
    assert np.all(variance <= 27 / 256)
    assert np.all(covariance <= variance / (1 - np.maximum(sigma, 0)) ** 2 + 1e-12)
    floor = 1 - beta2 * covariance - bound**2 * mu**2
    assert np.all(new_phi / phi >= floor - 1e-10)
    assert np.all(floor >= 1 - 0.77 * e**2)
    assert np.min((new_phi / phi - 1) / e**2) < -0.2  # not far from what is possible


def test_the_example_prints_what_the_page_says(capsys):
    text = PAGE.read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    wanted = re.search(r"```text\n(.*?)```", text, re.DOTALL).group(1)
    exec(compile(code, "scalar-networks.md", "exec"), {})
    assert capsys.readouterr().out == wanted
