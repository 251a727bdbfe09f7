"""How a step is made from a gradient: plain gradient descent, or any optax transformation."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class Update(Protocol):
    """The protocol of optax's gradient transformations."""

    def init(self, params: PyTree) -> PyTree:
        """Return the state before the first step."""
        ...

    @property
    def update(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """`(gradient, state, params, **more) -> (change, state)`: what to add to the parameters.

        `more` is what it takes, by name, of `value` (the loss), `grad` (the gradient again) and
        `value_fn` (the function from parameters to the loss).
        """
        ...


Optimizer = Callable[[float], Any] | Any


class GradientDescent(eqx.Module):
    """`w' = w - step_size ∇L(w)`.

    The step size is an array leaf, so that all step sizes share one compiled loop (an optax
    transformation closes over its own, and is compiled once for each).
    """

    step_size: Float[Array, ""]

    def __init__(self, step_size: float):
        self.step_size = jnp.asarray(step_size, float)

    def init(self, params: PyTree) -> tuple[()]:
        """Return the empty state."""
        return ()

    def update(self, updates: PyTree, state: tuple[()], params: PyTree) -> tuple[PyTree, tuple[()]]:
        """Return `-step_size ∇L(w)` in the dtype of each gradient."""
        return jax.tree.map(lambda g: -self.step_size.astype(g.dtype) * g, updates), state


def accepted_arguments(update: Update, more: dict[str, Any]) -> dict[str, Any]:
    """Return those of the arguments by name that the update takes besides the common three."""
    parameters = inspect.signature(update.update).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return more
    return {name: value for name, value in more.items() if name in parameters}


def update_for(optimizer: Optimizer | None, step_size: float) -> Update:
    """Return the update of `optimizer` at `step_size`; plain gradient descent for `None`."""
    if optimizer is None:
        return GradientDescent(step_size)
    transformation: Any = optimizer
    if not _is_update(transformation) and callable(transformation):
        transformation = transformation(step_size)
    if _is_update(transformation):
        return transformation
    raise TypeError(
        "optimizer must be an optax GradientTransformation, or a callable step_size -> "
        "GradientTransformation such as optax.sgd"
    )


def check_optimizer(optimizer: Optimizer | None, step_sizes: int) -> None:
    """Refuse a ready-made transformation with several step sizes: it could not follow them."""
    if optimizer is not None and _is_update(optimizer) and step_sizes > 1:
        raise ValueError(
            "a GradientTransformation has one step size built in: with several step sizes pass a "
            "callable step_size -> GradientTransformation, such as optax.sgd"
        )


def _is_update(candidate: Any) -> TypeGuard[Update]:
    return all(callable(getattr(candidate, name, None)) for name in ("init", "update"))
