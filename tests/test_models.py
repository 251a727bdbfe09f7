"""Models as other libraries write them: what is trained, what is not, and what cannot be."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw

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
