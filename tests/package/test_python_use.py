"""What is met at a Python prompt: names in print and in `dir`, errors that say what to do."""

import importlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from bad_inputs import QUESTIONS
from thalweg import descent, verdict
from thalweg.runs.strict_json import to_json

W = jnp.array([1.0, 2.0])


def loss(w):
    return 0.5 * jnp.sum(w**2)


def descended(**options):
    return tw.descend(loss, W, step_size=0.1, steps=2, **options)


@pytest.mark.parametrize(
    "code",
    [
        tw.Status.SET_VALUED,
        descent.EigenStatus.NOT_CONVERGED,
        verdict.Step.UNDECIDED,
        tw.ScalarOutcome.PERIOD_2,
    ],
)
def test_a_code_prints_its_name_and_is_stored_as_its_number(code):
    assert (f"{code}", str(code), format(code)) == (code.name,) * 3
    assert f"{code:>20}" == code.name.rjust(20)
    assert f"{code:d}" == f"{int(code)}"
    assert f"{code:.1f}" == f"{int(code)}.0"
    assert "%s" % code == code.name  # noqa: UP031
    assert json.dumps({"status": code}) == json.dumps({"status": int(code)})
    assert json.loads(to_json({"status": code})) == {"status": int(code)}
    assert np.asarray([code]).dtype == int
    assert code == int(code)


MODULES = "curvature data descent diagonal experiments figures flow models problems runs scalar"


@pytest.mark.parametrize("module", MODULES.split())
def test_a_module_shows_its_public_names_alone(module):
    module = importlib.import_module(f"thalweg.{module}")
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_a_single_measurement_needs_no_list():
    run = descended(measurements=tw.Sharpness())
    assert run.dataset["sharpness"].values.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("nothing", [None, 3])
def test_what_is_no_list_of_measurements_is_told(nothing):
    with pytest.raises(TypeError, match=r"^measurements must be a list .*thalweg\.Sharpness\(\)"):
        descended(measurements=nothing)
    with pytest.raises(TypeError, match=r"Sharpness.* is no measurement: give objects such as"):
        descended(measurements=tw.Sharpness)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (jnp.ones(3), r"shape \(3,\)"),
        (np.ones((2, 2)), r"shape \(2, 2\)"),
        ([], r"shape \(0,\)"),
        ("high", "'high'"),
        (None, "None"),
        (1j, "1j"),
        ({"a": 1.0}, "{'a': 1.0}"),
        ([[1.0], [2.0, 3.0]], r"\[\[1.0\], \[2.0, 3.0\]\]"),
    ],
)
def test_a_quantity_that_is_no_number_names_itself(value, found):
    quantity = tw.Quantity("norm", lambda problem, w: value)
    with pytest.raises(ValueError, match=rf"^the quantity 'norm' must be one number, .*{found}"):
        descended(measurements=[quantity])


@pytest.mark.parametrize(
    "value", [2, 2.0, True, jnp.bfloat16(2.0), np.float32(2), jnp.ones((1, 1))]
)
def test_a_quantity_may_be_any_number(value):
    quantity = tw.Quantity("norm", lambda problem, w: value)
    measured = descended(measurements=quantity).dataset["norm"].values
    assert measured[0, 0] == float(jnp.squeeze(value))


def test_a_reading_that_is_no_number_names_its_measurement():
    class Norms:
        name, every, start = "norms", 1, 0
        variables = {"largest": {}}  # noqa: RUF012

        def measure(self, problem, w, memory, report):
            return descent.Reading({"largest": w})

    with pytest.raises(ValueError, match=r"^'largest' of the measurement 'norms' must be one num"):
        descended(measurements=[Norms()])


def nothing_but_a_dictionary(w):
    return jnp.sum(w["a"] ** 2)


def nothing_but_a_module(w):
    return jnp.sum(w.weight**2)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("loss", "starts"),
    [
        (loss, [W, W]),
        (loss, (W, W, W)),
        (tw.ScalarNetwork(2), [W, W]),
        (nothing_but_a_dictionary, [{"a": W}, {"a": W}]),
        (nothing_but_a_module, [{"a": W}, {"a": W}]),
    ],
)
def test_a_list_of_starts_is_told_what_to_do(question, loss, starts):
    found = rf"the parameters are a {type(starts).__name__} of {len(starts)} alike: .* for w in "
    with pytest.raises(ValueError, match=found) as caught:
        QUESTIONS[question](loss, starts)
    assert len(str(caught.value).splitlines()) == 1


def test_a_list_that_is_one_start_is_no_list_of_starts():
    layers = [jnp.ones((2, 2)), jnp.ones((2, 2))]
    assert tw.sharpness(lambda w: 0.5 * jnp.sum((w[0] @ w[1]) ** 2), layers) > 0
    with pytest.raises(ValueError, match="cannot be evaluated") as caught:
        tw.sharpness(lambda w: jnp.sum(w[0] @ w[1]), [jnp.ones(2), jnp.ones(3)])
    assert "alike" not in str(caught.value)
