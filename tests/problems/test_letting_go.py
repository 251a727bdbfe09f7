"""What a loss closes over is kept no longer than the loss."""

import gc
import weakref

import jax
import jax.numpy as jnp
import pytest

import thalweg as tw
from marks import slow
from thalweg.flow import Exponential
from thalweg.problems.compiling import ProgramCache, compiled

W = {"in": jnp.linspace(0.2, 0.5, 24).reshape(3, 8), "out": jnp.full((8, 1), 0.3)}


def model(w, x):
    return jnp.tanh(x @ w["in"]) @ w["out"]


PROBLEMS = {
    "callable": lambda x, y: lambda w: jnp.mean((model(w, x) - y) ** 2) / 2,
    "data": lambda x, y: tw.Supervised(lambda w, x: model(w, x), x, y),
    "closure": lambda x, y: tw.Supervised(lambda w, _: model(w, x), x, y),
    "loss": lambda x, y: tw.Supervised(model, x, y, loss=lambda o, _: jnp.mean((o - y) ** 2)),
}
QUESTIONS = {
    "sharpness": lambda p: tw.sharpness(p, W),
    "descend": lambda p: tw.descend(p, W, step_size=0.1, steps=2, measurements=[tw.Sharpness()]),
    "flow": lambda p: tw.gradient_flow_solution(p, W, rtol=0.1),
    "exponential": lambda p: tw.gradient_flow_solution(p, W, rtol=0.1, method=Exponential()),
}
CASES = [("sharpness", "closure"), *slow(*(("sharpness", n) for n in PROBLEMS if n != "closure"))]
CASES += slow(*((name, "closure") for name in QUESTIONS if name != "sharpness"))


@pytest.mark.parametrize(("question", "problem"), CASES)
def test_a_loop_over_data_sets_keeps_none(question, problem):
    kept, counts = [], []
    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (5, 3))
        loss = PROBLEMS[problem](x, jnp.sin(x[:, :1]))
        QUESTIONS[question](loss)
        kept.append(weakref.ref(x))
        del loss, x
        gc.collect()
        counts.append(len(jax.live_arrays()))
    # Caches inside of libraries may hold what they saw first.
    assert [ref() for ref in kept[1:]] == [None] * 2
    assert counts[1] == counts[2]


def test_what_lives_is_compiled_once():
    traced = []

    @compiled
    def value(function, x):
        traced.append(function)
        return function(x), function

    class Model:
        def double(self, x):
            return 2 * x

    def triple(x):
        return 3 * x

    instance = Model()
    for _ in range(3):
        assert float(value(triple, jnp.array(1.0))[0]) == 3.0
        assert value(instance.double, jnp.array(1.0))[1] == instance.double
    assert len(traced) == 2
    assert value(triple, jnp.array(1.0))[1] is triple


def test_numbers_of_different_types_are_different_constants():
    @compiled
    def kind(number, x):
        return x, type(number).__name__

    names = [kind(number, jnp.array(1.0))[1] for number in (1, 1.0, True)]
    assert names == ["int", "float", "bool"]


def test_what_could_not_be_made_is_let_go_without_a_word():
    """An error in a callback of a weak reference would be a warning, and so an error here."""

    kept = []

    def make(weak):
        kept.append(weak)
        raise ValueError("not to be made")

    cache, constant = ProgramCache(other=1), type("Constant", (), {})()
    with pytest.raises(ValueError, match="not to be made"):
        cache.get_or_make("structure", (constant,), make)
    del constant
    gc.collect()
    assert list(cache) == ["other"]
