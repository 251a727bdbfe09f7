"""One flow of the fresh problems: a loss, its start, and what kind of limit there is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

import thalweg as tw

SMOOTH, EDGE, KINKED, UNSETTLED = "smooth", "edge", "kinked", "unsettled"


@dataclass(frozen=True)
class Case:
    """A flow `dw/dt = -∇L(w)`.

    Attributes
    ----------
    loss
        `loss(w, data, edge=None)`. The last argument is for references: the width over which kinks
        are rounded, or how far the edge of a flat minimum is pushed outwards.
    data, w
        Arrays, and the start.
    predict
        Where the loss is the squared one of a model `predict(w, x)` and is given as
        `tw.Supervised`: the model; else the loss is given as a plain callable.
    limit
        `SMOOTH`; `EDGE`: the set of minima has a boundary, where the curvature jumps, and `φ` is
        what the sharpness tends to along the flow; `KINKED`: the gradient jumps, and `φ` is a set;
        `UNSETTLED`: the flow has no limit, or ends in a saddle.
    truth
        `φ`, where a closed form is known.
    """

    loss: Callable[..., Any]
    data: tuple[Any, ...]
    w: Any
    predict: Callable[..., Any] | None = None
    limit: str = SMOOTH
    truth: float | None = None

    @property
    def problem(self):
        """What thalweg is given."""
        if self.predict is not None:
            return tw.Supervised(self.predict, *self.data)
        # A pytree: so that cases that differ in their data alone share compiled code.
        return jax.tree_util.Partial(data_first(self.loss), self.data)


@cache
def data_first(loss):
    return lambda data, w: loss(w, data)


@cache
def squared(predict):
    """Return the loss `1/(2n) Σ (predict(w, x) - y)²`."""

    def loss(w, data, edge=None):
        x, y = data
        outputs = predict(w, x) if edge is None else predict(w, x, edge)
        return 0.5 * jnp.sum((outputs - y) ** 2) / len(y)

    return loss
