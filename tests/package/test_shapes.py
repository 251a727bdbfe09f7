"""Shapes in signatures are checked while tests run, and nothing else in signatures is."""

import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, TypeCheckError, jaxtyped

from shapes import checked
from thalweg.scalar.descent import gradient_step


def test_shapes_of_the_package_are_checked(pytestconfig):
    if not pytestconfig.getoption("jaxtyping_packages", None):
        pytest.skip("pytest runs without --jaxtyping-packages")
    w, step_size = jnp.ones((3, 5)), jnp.asarray(0.1)
    assert gradient_step(w, step_size, jnp.ones(5))[1].shape == (5,)
    with pytest.raises(TypeCheckError, match="target"):
        gradient_step(w, step_size, jnp.ones(4))


@jaxtyped(typechecker=checked)
def scaled(w: Float[Array, " d"], by: float, parts: list[Float[Array, " d"]]) -> Float[Array, "1"]:
    return w[: int(by)]


def test_arrays_alone_are_checked():
    w = jnp.ones(3)
    assert scaled(w, 1, []).shape == (1,)  # no float
    assert scaled(w, True, [w]).shape == (1,)
    for arguments in ((w, 2, []), (w[None], 1, []), (w, 1, [jnp.ones(2)]), (jnp.arange(3), 1, [])):
        with pytest.raises(TypeCheckError):
            scaled(*arguments)
