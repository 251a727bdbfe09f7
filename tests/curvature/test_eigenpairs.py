"""Eigenpairs of Hessians against dense decompositions, and the identities that define them."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marks import slow
from thalweg.curvature import (
    dense_eigenpairs,
    largest_eigenpairs,
    random_block,
    sharpness,
    top_eigenpairs,
    warm_block,
)
from thalweg.curvature.eigenpairs import DENSE_UP_TO
from thalweg.problems import Problem, Supervised, flatten

P = 150
assert P > DENSE_UP_TO


class Quadratic(Problem):
    matrix: jax.Array

    def __call__(self, w):
        return 0.5 * w @ (self.matrix @ w)


def rotated(spectrum, seed=0, dtype=np.float64):
    """Return a symmetric matrix with that spectrum, in a random basis."""
    spectrum = np.asarray(spectrum, float)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum),) * 2))
    matrix = (q * spectrum) @ q.T
    return jnp.asarray(0.5 * (matrix + matrix.T), dtype)


def core(matrix, start, k):
    return largest_eigenpairs(lambda v: matrix @ v, start, k=k)


def network(w, x):
    return jnp.tanh(x @ w["in"] + w["bias"][None, :]) @ w["out"]


def network_init(dtype):
    keys = jax.random.split(jax.random.key(3), 3)
    shapes = {"in": (6, 12), "bias": (12,), "out": (12, 3)}
    return {
        name: jax.random.normal(key, shape, dtype)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def root_of_zero(w):
    """Return a loss whose Hessian is infinite at 0."""
    return jnp.sum(jnp.sqrt(w))


def solve(matrix, k=1, **options):
    return top_eigenpairs(Quadratic(matrix), jnp.ones(len(matrix), matrix.dtype), k, **options)


def assert_eigenpairs(pairs, matrix, k, tol=1e-6):
    """Check the defining identities in NumPy, and the values against a dense decomposition."""
    pairs = jax.tree.map(np.asarray, vars(pairs))
    eps = np.finfo(pairs["values"].dtype).eps
    assert pairs["converged"]
    assert pairs["vectors"].shape == (len(matrix), k)
    assert pairs["values"].shape == pairs["residuals"].shape == (k,)
    matrix, vectors = np.asarray(matrix, float), np.asarray(pairs["vectors"], float)
    # In units of ‖A‖ from here on, so that NumPy's squares neither overflow nor underflow.
    scale = np.max(np.abs(matrix)) or 1.0
    scale *= np.linalg.norm(matrix / scale, 2) or 1.0
    matrix, values, reported = matrix / scale, pairs["values"] / scale, pairs["residuals"] / scale
    residuals = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(reported, residuals, atol=32 * eps, rtol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=100 * eps)
    assert np.all(residuals <= tol * np.abs(values) + 64 * eps)
    exact = np.linalg.eigvalsh(matrix)[::-1][:k]
    np.testing.assert_allclose(values, exact, atol=2 * tol + 64 * eps)


RNG = np.random.default_rng(7)
SPECTRA = {
    "uniform": RNG.uniform(-1, 1, P),
    "large negative tail": np.concatenate([RNG.uniform(0, 1, P - 20), -100 * RNG.uniform(size=20)]),
    "twice at the top": np.concatenate([RNG.uniform(-2, 1, P - 2), [2, 2]]),
    "thrice at the top": np.concatenate([RNG.uniform(-2, 1, P - 3), [2, 2, 2]]),
    "two close": np.concatenate([RNG.uniform(-2, 1, P - 2), [1.1, 1.101]]),
    "negative definite": -RNG.uniform(1, 5, P),
    "top is zero": np.concatenate([-RNG.uniform(1, 5, P - 4), np.zeros(4)]),
    "decaying": 10.0 ** -np.linspace(0, 12, P),
    "rank one": np.concatenate([[3.0], np.zeros(P - 1)]),
    "multiple of the identity": np.full(P, -2.0),
    "zero": np.zeros(P),
    # The copies of 1 are hidden by 0.5, which the first start vector finds with the first copy.
    "few distinct": np.concatenate([-np.ones(P - 4), [0.5, 1, 1, 1]]),
    "tiny": 1e-200 * RNG.uniform(-1, 1, P),
    "huge": 1e150 * RNG.uniform(-1, 1, P),
}


@pytest.mark.parametrize("k", [1, *slow(3)])
@pytest.mark.parametrize("name", SPECTRA)
def test_against_dense(name, k):
    matrix = rotated(SPECTRA[name])
    pairs = solve(matrix, k)
    assert_eigenpairs(pairs, matrix, k)
    # Twenty outliers at the wrong end crowd the basis: the hard case for a restarted method.
    assert pairs.matvecs < (10 * P if name == "large negative tail" else 3 * P)


def test_largest_algebraic_not_magnitude_in_both_paths():
    for p in (4, P):
        spectrum = np.concatenate([[1.0, 2.0, 3.0, -10.0], np.zeros(p - 4)])
        pairs = solve(rotated(spectrum))
        np.testing.assert_allclose(pairs.values, [3.0], rtol=1e-9)
        assert sharpness(Quadratic(rotated(spectrum)), jnp.ones(p)) == float(pairs.values[0])


def test_repeated_eigenvalue_is_found_as_often_as_it_occurs():
    values = solve(rotated(SPECTRA["twice at the top"]), 3).values
    np.testing.assert_allclose(values[:2], 2.0, rtol=1e-9)
    assert values[2] < 1.01


def test_dense_path_spends_p_products():
    matrix = rotated(RNG.uniform(-3, 1, DENSE_UP_TO))
    pairs = solve(matrix, DENSE_UP_TO)
    assert_eigenpairs(pairs, matrix, DENSE_UP_TO)
    assert pairs.matvecs == DENSE_UP_TO


@pytest.mark.slow
@pytest.mark.parametrize("p", [1, 30])
def test_every_eigenvalue_of_a_small_operator(p):
    matrix = rotated(np.random.default_rng(p).uniform(-1, 1, p))
    start = random_block(0, p, p, matrix.dtype)
    pairs = core(matrix, start, p)
    assert_eigenpairs(pairs, matrix, p)
    assert int(pairs.matvecs) == p


@pytest.fixture(scope="module")
def network_hessian():
    """A problem with its parameters, and its Hessian by NumPy's convention."""
    x = np.random.default_rng(11).normal(size=(40, 6))
    problem, w = Supervised(network, x, np.sin(x[:, :3])), network_init(float)
    flat, vector = flatten(problem, w)
    assert vector.size > DENSE_UP_TO
    hessian = np.asarray(jax.jit(jax.vmap(flat.hessian(vector)))(jnp.eye(vector.size)))
    return problem, w, 0.5 * (hessian + hessian.T)


@pytest.mark.slow
def test_network_hessian_against_dense(network_hessian):
    problem, w, hessian = network_hessian
    pairs = top_eigenpairs(problem, w, 3)
    assert_eigenpairs(pairs, hessian, 3)
    assert pairs.matvecs < len(hessian)


@pytest.mark.slow
def test_flattened_network_in_float32(network_hessian):
    problem, w, hessian = network_hessian
    flat, vector = flatten(problem, jax.tree.map(lambda a: a.astype(jnp.float32), w))
    pairs = top_eigenpairs(flat, vector, 3, tol=1e-12)
    assert pairs.converged
    assert pairs.values.dtype == np.float32
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(hessian)[:-4:-1], rtol=1e-4)


def test_error_falls_with_the_tolerance():
    matrix = rotated(np.linspace(-3, 1, P))
    exact = float(np.linalg.eigvalsh(matrix)[-1])
    runs = [solve(matrix, tol=tol) for tol in (1e-1, 1e-3, 1e-6)]
    errors = [abs(run.values[0] - exact) for run in runs]
    assert runs[0].matvecs < runs[1].matvecs < runs[2].matvecs
    assert errors[0] > 1e3 * errors[1] > 1e3 * errors[2]


@pytest.mark.slow
def test_warm_start_saves_products():
    matrix = rotated(np.concatenate([np.linspace(-2, 1, P - 1), [1.1]]))
    neighbour = matrix + 1e-4 * rotated(RNG.uniform(-1, 1, P), seed=5)
    old = solve(neighbour).vectors
    seeds = range(20)
    for tol, saving in ((1e-6, 0.8), (1e-9, 0.85)):
        cold = np.mean([solve(matrix, tol=tol, seed=seed).matvecs for seed in seeds])
        for start in (old, old[:, 0]):
            runs = [solve(matrix, start=start, tol=tol, seed=seed) for seed in seeds]
            assert_eigenpairs(runs[0], matrix, 1, tol)
            assert np.mean([run.matvecs for run in runs]) <= saving * cold


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("overtakes_by", [1e-2, 0.5])
def test_warm_start_that_has_been_overtaken(k, overtakes_by):
    diagonal = np.linspace(-1, 0.5, P)
    diagonal[:4] = 1.0 + overtakes_by, 1.0, 0.9, 0.8
    old = jnp.eye(P)[:, 1 : 1 + k]  # exact eigenvectors, of 1 and what follows it
    matrix = jnp.diag(jnp.asarray(diagonal))
    naive = core(matrix, old, k)
    assert float(naive.values[0]) == 1.0  # the trap: called converged, but another is larger
    assert bool(naive.converged)
    assert_eigenpairs(solve(matrix, k, start=old), matrix, k)


@pytest.mark.slow
def test_warm_start_at_a_loose_tolerance_is_no_trap():
    """Random vectors have next to no part of an eigenvector now and then, warm or cold."""
    diagonal = np.linspace(-1, 0.5, P)
    diagonal[:2] = 1.03, 1.0
    matrix, old = jnp.diag(jnp.asarray(diagonal)), jnp.eye(P)[:, 1]
    tops = [solve(matrix, start=old, tol=1e-3, seed=seed).values[0] for seed in range(100)]
    assert np.mean(np.abs(np.asarray(tops) - 1.03) < 1e-3) >= 0.95


@pytest.mark.slow
def test_start_with_fewer_and_with_more_columns():
    matrix = rotated(SPECTRA["uniform"])
    vectors = solve(matrix, 3).vectors
    for columns in (1, 3):
        for k in (1, 3):
            assert_eigenpairs(solve(matrix, k, start=vectors[:, :columns]), matrix, k)
    assert_eigenpairs(solve(matrix, start=jnp.zeros(P)), matrix, 1)


def test_exhausted_budget_is_said_and_the_residual_is_still_true():
    matrix = rotated(np.linspace(-3, 1, P))
    for k, budget in ((1, 1), (1, 5), (3, 10), (1, 40)):
        pairs = solve(matrix, k, tol=1e-10, max_products=budget)
        assert not pairs.converged
        assert pairs.matvecs == budget
        assert np.any(pairs.residuals > 1e-10 * np.abs(pairs.values))
        vectors = np.asarray(pairs.vectors)
        true = np.linalg.norm(np.asarray(matrix) @ vectors - vectors * pairs.values, axis=0)
        np.testing.assert_allclose(pairs.residuals, true, rtol=1e-8)


@pytest.mark.parametrize("p", [3, P])
def test_hessian_that_is_not_finite(p):
    pairs = top_eigenpairs(root_of_zero, jnp.zeros(p))
    assert not pairs.converged
    assert np.all(np.isnan(pairs.values))
    assert np.all(np.isnan(pairs.vectors))
    assert np.all(np.isnan(pairs.residuals))
    assert pairs.matvecs == (p if p == 3 else 1)
    with pytest.warns(RuntimeWarning, match="not known to tol"):
        assert np.isnan(sharpness(root_of_zero, jnp.zeros(p)))


@pytest.mark.parametrize("p", [3, P])
def test_shapes_of_an_answer_that_is_not_finite(p):
    pairs = top_eigenpairs(root_of_zero, jnp.zeros(p), 3)
    assert (pairs.values.shape, pairs.vectors.shape, pairs.residuals.shape) == ((3,), (p, 3), (3,))
    assert np.all(np.isnan(pairs.vectors))


def test_rank_deficient_start_and_invariant_subspaces():
    # All negative: a zero vector let into the basis would pose as an eigenvector of 0.
    spectrum = np.concatenate([np.linspace(-1, 0.5, P - 4), [1.0, 1.0, 2.0, 3.0]]) - 5
    matrix = rotated(spectrum)
    column = random_block(1, P, 1, matrix.dtype)
    start = jnp.concatenate([column, column, jnp.zeros((P, 1))], axis=1)
    assert_eigenpairs(core(matrix, start, 3), matrix, 3)


def test_one_product_per_iteration():
    calls = []
    matrix = np.asarray(rotated(SPECTRA["uniform"]))

    def matvec(v):
        calls.append(None)
        return matrix @ v

    start = random_block(0, P, 3, jnp.float64)
    pairs = largest_eigenpairs(matvec, start, k=3)
    assert int(pairs.matvecs) == len(calls)


def test_compiled_once_per_structure():
    traced = []

    def loss(w):
        traced.append(w)
        return jnp.sum(jnp.cos(w["a"])) + jnp.sum(w["b"] ** 4)

    def at(value, **options):
        w = {"a": jnp.full(70, value), "b": jnp.full((3, 3), value)}
        return top_eigenpairs(loss, w, **options)

    at(0.1)
    count = len(traced)
    at(0.2, tol=1e-3, max_products=100, seed=4)
    assert len(traced) == count


@pytest.mark.slow
def test_float32():
    for name in ("uniform", "large negative tail", "thrice at the top", "zero"):
        matrix = rotated(SPECTRA[name], dtype=np.float32)
        pairs = solve(matrix, 3, tol=1e-4)
        assert pairs.values.dtype == np.float32
        assert_eigenpairs(pairs, matrix, 3, tol=1e-4)
    # A tolerance below the precision stops at the rounding floor instead of never.
    matrix = rotated(SPECTRA["uniform"], dtype=np.float32)
    assert_eigenpairs(solve(matrix, 3, tol=1e-12), matrix, 3, tol=1e-12)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    top=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    low=st.floats(-50, -1),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    seed=st.integers(0, 10_000),
)
def test_any_spectrum(top, low, scale, seed):
    rest = np.random.default_rng(seed).uniform(low, -1, P - len(top))
    matrix = rotated(scale * np.concatenate([top, rest]), seed)
    for k in (1, 3):
        assert_eigenpairs(solve(matrix, k, tol=1e-4, seed=seed), matrix, k, tol=1e-4)


def test_warm_block_is_near_its_vectors_but_not_equal():
    vectors = 5 * jnp.eye(P)[:, :2]
    block = warm_block(0, vectors, 3, tol=1e-6)
    assert block.shape == (P, 3)
    cosines = jnp.diagonal(block[:2, :2]) / jnp.linalg.norm(block[:, :2], axis=0)
    assert np.all(np.asarray(cosines) > 0.9)
    assert np.all(np.asarray(cosines) < 0.99)


def test_dense_core_shows_an_operator_that_is_not_symmetric():
    matrix = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    assert not dense_eigenpairs(matrix, k=2).converged


BAD = {
    "k must be between 1 and": {"k": 0},
    "k must be between 1 and the 3": {"k": 4},
    "tol must be positive": {"tol": 0.0},
    "tol must be positive and finite": {"tol": float("nan")},
    "max_products must be at least k = 2": {"k": 2, "max_products": 1},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises(ValueError, match=message) as error:
        top_eigenpairs(lambda w: jnp.sum(w**2), jnp.ones(3), **BAD[message])
    assert "\n" not in str(error.value)


def test_bad_starts_and_dtypes():
    loss, w = (lambda w: jnp.sum(w**2)), jnp.ones(P)
    for start in (jnp.ones(P + 1), jnp.ones((P, 0)), jnp.ones((2, P))):
        with pytest.raises(ValueError, match="start must have shape"):
            top_eigenpairs(loss, w, start=start)
    with pytest.raises(ValueError, match="start holds NaN"):
        top_eigenpairs(loss, w, start=jnp.full(P, jnp.nan))
    with pytest.raises(ValueError, match="float32 or float64"):
        top_eigenpairs(loss, w.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match="need 1 <= k"):
        largest_eigenpairs(lambda v: v, jnp.ones((3, 1)), k=2)


def test_sharpness_is_quiet_when_converged():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sharpness(Quadratic(-2 * jnp.eye(P)), jnp.ones(P)) == pytest.approx(-2.0)
