"""Models as other libraries write them: what is trained, what is not, and what cannot be."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import thalweg as tw
from marks import slow
from thalweg.flow import Exponential, Stabilized
from thalweg.problems import flatten
from thalweg.problems.compiling import compiled

X = jnp.linspace(-1.0, 1.0, 6)[:, None]
Y = jnp.sin(2 * X)


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class Tempered(eqx.Module):
    """A model that holds numbers besides its weights."""

    weight: jax.Array
    temperature: float = 2.0
    power: int = 1

    def __call__(self, x):
        return jnp.tanh(x @ self.weight / self.temperature) ** self.power


@pytest.mark.slow
def test_python_numbers_in_a_model_are_not_trained():
    model = Tempered(jnp.ones((1, 1)))
    problem = tw.Supervised(lambda model, x: model(x), X, Y)

    def of_weight(weight):
        return jnp.mean((jnp.tanh(X[:, 0] * weight / 2.0) - Y[:, 0]) ** 2) / 2

    curvature = float(jax.grad(jax.grad(of_weight))(jnp.array(1.0)))
    assert tw.sharpness(problem, model) == pytest.approx(curvature, rel=1e-9)
    end = tw.descend(problem, model, step_size=0.5, steps=20).w[0]
    assert (end.temperature, end.power) == (2.0, 1)
    assert type(end.temperature) is float
    assert float(end.weight[0, 0]) != 1.0
    flow = tw.gradient_flow_solution(problem, model, rtol=1e-2)
    assert (flow.converged, flow.w.temperature) == (True, 2.0)


def test_numpy_arrays_are_trained_and_integers_are_not():
    w = {"weight": np.full((1, 1), 1.0), "index": np.array([0]), "mask": jnp.array([True])}
    problem = tw.Supervised(lambda w, x: x[:, w["index"]] @ w["weight"] * w["mask"], X, Y)
    end = tw.descend(problem, w, step_size=0.5, steps=3).w[0]
    assert float(end["weight"][0, 0]) != 1.0
    np.testing.assert_array_equal(end["index"], [0])
    np.testing.assert_array_equal(end["mask"], [True])


class Attentive(eqx.Module):
    """Attention with a dropout of 0.0, over the pixels of one sample."""

    attention: eqx.nn.MultiheadAttention
    dropout: eqx.nn.Dropout

    def __call__(self, x):
        tokens = jnp.stack([x, jnp.ones_like(x)])
        return self.dropout(self.attention(tokens, tokens, tokens)).sum(0)[:1]


@pytest.mark.slow
def test_attention_and_dropout_of_zero_work():
    attention = eqx.nn.MultiheadAttention(2, 2, key=jax.random.key(0))
    model = Attentive(attention, eqx.nn.Dropout(0.0))
    x = jnp.concatenate([X, X**2], axis=1)
    problem = tw.Supervised(lambda model, x: jax.vmap(model)(x), x, Y)
    assert tw.sharpness(problem, model) > 0
    end = tw.descend(problem, model, step_size=0.1, steps=3).w[0]
    assert end.dropout.p == 0.0


@pytest.mark.parametrize("w", [2.0, 1.0 + 2.0j, {"a": 1.0, "b": 2}])
def test_numbers_alone_are_refused_in_one_line(w):
    with pytest.raises(TypeError, match="a Python number is not trained") as caught:
        tw.sharpness(lambda w: w, w)
    assert "\n" not in str(caught.value)


keys = jax.random.split(jax.random.key(0), 2)
FEATURES = jax.random.normal(jax.random.key(1), (4, 3))
TARGETS = jnp.sin(FEATURES[:, :1])
WEIGHTS = {
    "in": jax.random.normal(keys[0], (3, 8)),
    "out": jax.random.normal(keys[1], (8, 1)) / 3,
}


def plain(w, x):
    return jnp.tanh(x @ w["in"]) @ w["out"]


@jax.custom_vjp
def tanh(x):
    return jnp.tanh(x)


tanh.defvjp(lambda x: (jnp.tanh(x), x), lambda x, u: (u * (1 - tanh(x) ** 2),))


def in_single_precision(w, x):
    w = jax.tree.map(lambda a: a.astype(jnp.float32), w)
    return plain(w, x.astype(jnp.float32))


ONES = jnp.ones((4, 1))
MODELS = {
    "lower_precision": (in_single_precision, TARGETS),
    "squeezed": (lambda w, x: plain(w, x).squeeze(), TARGETS[:, 0]),
    "masked": (lambda w, x: ONES * plain(w, x), TARGETS),
    "mixing": (lambda w, x: jnp.eye(4) @ plain(w, x), TARGETS),
    "own_derivative": (lambda w, x: tanh(x @ w["in"]) @ w["out"], TARGETS),
}
METHODS = (Stabilized(), Exponential())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("name", slow(*MODELS))
def test_models_that_cannot_do_everything_end_where_the_plain_one_does(name, method):
    predict, y = MODELS[name]
    problem = tw.Supervised(predict, FEATURES, y)
    same = tw.Supervised(plain, FEATURES, TARGETS)
    flow = tw.gradient_flow_solution(problem, WEIGHTS, method=method)
    reference = tw.gradient_flow_solution(same, WEIGHTS, rtol=1e-6, method=Exponential())
    assert flow.converged
    assert reference.converged
    assert abs(flow.sharpness - reference.sharpness) <= flow.sharpness_error + 2e-6
    assert tw.sharpness(problem, WEIGHTS) == pytest.approx(tw.sharpness(same, WEIGHTS), rel=1e-6)


@compiled
def products_and_matrix(flat, w, u):
    r, product, transpose = flat.jacobian(w)
    return r, product(w), transpose(u), flat.jacobian_matrix(w)


@pytest.mark.slow
def test_the_whole_jacobian_is_that_of_the_products():
    for predict, y in MODELS.values():
        flat, w = flatten(tw.Supervised(predict, FEATURES, y), WEIGHTS)
        r, image, back, matrix = products_and_matrix(flat, w, u := jnp.arange(1.0, 5.0))
        assert (r.dtype, matrix.dtype) == (w.dtype, w.dtype)
        np.testing.assert_allclose(matrix @ w, image, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(matrix.T @ u, back, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_inside_single_precision_runs():
    def predict(w, x):
        w = jax.tree.map(lambda a: a.astype(jnp.bfloat16), w)
        return plain(w, x.astype(jnp.bfloat16))

    w = jax.tree.map(lambda a: a.astype(jnp.float32), WEIGHTS)
    problem = tw.Supervised(predict, FEATURES, TARGETS)
    same = tw.Supervised(plain, FEATURES, TARGETS)
    top = tw.top_eigenpairs(problem, w, tol=0.02)
    assert top.values[0] == pytest.approx(tw.sharpness(same, w), rel=0.02)
    flow = tw.gradient_flow_solution(problem, w, rtol=0.1, max_gradient_evaluations=2000)
    assert flow.w["in"].dtype == jnp.float32


def test_only_models_of_single_samples_are_taken_sample_by_sample():
    for name, (predict, y) in MODELS.items():
        problem = tw.Supervised(predict, FEATURES, y)
        is_single = name in ("lower_precision", "own_derivative")
        assert problem.independent_samples(WEIGHTS) == (4 if is_single else None)
        assert (problem.sample_kernel(WEIGHTS) is not None) == is_single


class Halves(tw.Problem):
    """Residuals of lower precision than the parameters, in a problem of one's own."""

    @property
    def is_least_squares(self):
        return True

    def residuals(self, w):
        return (w[:2] * w[2:] - 1.0).astype(jnp.float32)

    def __call__(self, w):
        return 0.5 * jnp.sum(self.residuals(w).astype(float) ** 2)


@pytest.mark.slow
def test_a_problem_of_lower_precision_is_followed():
    flow = tw.gradient_flow_solution(Halves(), jnp.array([2.0, 1.0, 0.3, 0.2]), rtol=1e-3)
    assert flow.converged
    # Of each pair the difference of squares stays, and the product becomes 1.
    assert flow.sharpness == pytest.approx(np.sqrt((4 - 0.09) ** 2 + 4), rel=1e-3)


TRANSFORMED = {
    "jit": lambda problem: jax.jit(lambda w: tw.sharpness(problem, w))(WEIGHTS),
    "closed_over": lambda problem: jax.jit(
        lambda scale: tw.sharpness(lambda w: scale * problem(w), WEIGHTS)
    )(1.0),
    "data": lambda problem: jax.jit(
        lambda x: tw.sharpness(tw.Supervised(plain, x, TARGETS), WEIGHTS)
    )(FEATURES),
    "grad": lambda problem: jax.grad(lambda w: tw.sharpness(problem, w))(WEIGHTS),
    "vmap": lambda problem: jax.vmap(lambda w: tw.sharpness(problem, w))(
        jax.tree.map(lambda a: a[None], WEIGHTS)
    ),
    "flow": lambda problem: jax.jit(lambda w: tw.gradient_flow_solution(problem, w).w)(WEIGHTS),
    "fall": lambda problem: jax.jit(lambda w: tw.gfs_sharpness_fall(problem, w, w).fall)(WEIGHTS),
    "descend": lambda problem: jax.jit(
        lambda w: tw.descend(problem, w, step_size=0.1, steps=1).w[0]
    )(WEIGHTS),
    "certify": lambda problem: jax.jit(lambda w: tw.certify(w, 0.1, 1))(jnp.ones(2)),
    "sweep": lambda problem: jax.jit(lambda ws: tw.scalar_sweep(ws, 0.1, 1))(jnp.ones((1, 2))),
    "limits": lambda problem: jax.jit(lambda ws: tw.ScalarNetwork(depth=2).flow_limits(ws))(
        jnp.ones((1, 2))
    ),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_questions_within_transformations_are_refused_in_one_line(name):
    problem = tw.Supervised(plain, FEATURES, TARGETS)
    with pytest.raises(TypeError, match="call it outside of them") as caught:
        TRANSFORMED[name](problem)
    assert "\n" not in str(caught.value)


def test_losses_may_be_called_within_transformations():
    value = jax.jit(lambda w: tw.Supervised(plain, FEATURES, TARGETS)(w))(WEIGHTS)
    assert float(value) == pytest.approx(float(tw.Supervised(plain, FEATURES, TARGETS)(WEIGHTS)))


@pytest.mark.parametrize("x", [{"a": FEATURES}, (FEATURES, FEATURES), (FEATURES, TARGETS)])
def test_inputs_of_several_parts_are_refused_in_one_line(x):
    with pytest.raises(TypeError, match="take them apart in predict") as caught:
        tw.Supervised(plain, x, TARGETS)
    assert "\n" not in str(caught.value)
    assert tw.Supervised(lambda w, x: w * x, (1.0, 2.0), (1.0, 2.0)).x.shape == (2,)


def test_batch_statistics_among_the_parameters_are_refused_in_one_line():
    variables = {"params": WEIGHTS, "batch_stats": {"mean": jnp.ones(2)}}
    with pytest.raises(ValueError, match=r"pass w\['params'\]") as caught:
        tw.sharpness(lambda w: jnp.sum(w["params"]["in"] ** 2), variables)
    assert "\n" not in str(caught.value)


def placed_explicitly():
    mesh = jax.make_mesh((1,), ("samples",), axis_types=(AxisType.Explicit,))
    return mesh, jax.device_put((FEATURES, TARGETS), NamedSharding(mesh, PartitionSpec("samples")))


@pytest.mark.slow
def test_data_on_a_mesh_with_explicit_axes():
    _, (x, y) = placed_explicitly()
    problem = tw.Supervised(plain, x, y)
    same = tw.Supervised(plain, FEATURES, TARGETS)
    assert float(problem(WEIGHTS)) == float(same(WEIGHTS))
    assert tw.sharpness(problem, WEIGHTS) == pytest.approx(tw.sharpness(same, WEIGHTS), rel=1e-9)
    flow = tw.gradient_flow_solution(problem, WEIGHTS)
    reference = tw.gradient_flow_solution(same, WEIGHTS)
    assert flow.sharpness == pytest.approx(reference.sharpness, rel=1e-9)
    assert [shard.data.shape for shard in problem.x.addressable_shards] == [(4, 3)]


def test_a_mesh_with_explicit_axes_that_is_set_is_refused_in_one_line():
    mesh, (x, y) = placed_explicitly()
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="Explicit axes") as caught:
        tw.Supervised(plain, x, y)
    assert "\n" not in str(caught.value)
