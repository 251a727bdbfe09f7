"""A translation is held to torch itself, before anything is measured with it.

All is compared at a point beside the parameters: at kinks, as those of a ReLU whose bias is zero,
derivatives are a matter of convention.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from thalweg.basics.lazy import Lazy
from thalweg.flow.step import value_and_gradient
from thalweg.problems import FlatProblem
from thalweg.problems.programs import hessian_product
from thalweg.torch.module import Module
from thalweg.torch.reference import TorchLoss
from thalweg.torch.translation import Translation, is_random, loses_precision

torch = Lazy("torch")

BESIDE = 1e-3
"""Relative distance of the point of comparison from the parameters."""
TOLERANCE = 1e-9
"""Relative difference of losses and gradients; Hessian products may differ ten times as much."""
STEP, SHORT_STEP = 1e-6, 1e-9
"""Relative steps of a difference of losses, and of gradients, which kinks on the way spoil."""
LOOSE = 1e-3
"""Relative difference from what is measured by a difference."""


def check_not_random(module: Module) -> None:
    """Raise a ValueError that names a layer with active dropout."""
    dropout = torch.nn.modules.dropout._DropoutNd
    for name, layer in module.layers():
        if isinstance(layer, dropout):
            rate = layer.p
        elif isinstance(layer, torch.nn.MultiheadAttention | torch.nn.RNNBase):
            rate = layer.dropout
        else:
            continue
        if layer.training and rate > 0:
            raise ValueError(
                f"the dropout of layer {name or type(layer).__name__!r} is active, but a flow "
                "needs one fixed loss: call model.eval() first, or set the rate to 0"
            )


def check_translation(
    flat: FlatProblem, start: Any, original: TorchLoss, translations: list[Translation]
) -> None:
    """Raise a ValueError where a translation is wrong, or its original no fixed, smooth loss.

    Parameters
    ----------
    flat, start
        The translated problem, and the parameters as a vector of shape `(p,)`.
    original
        What it must agree with.
    translations
        Of model and loss: where a difference comes from is looked for there.
    """
    start, rng = np.asarray(start), np.random.default_rng(0)
    size = float(np.sqrt(np.mean(start**2))) or 1.0
    w = start + BESIDE * size * rng.standard_normal(start.shape)
    v = size * rng.standard_normal(start.shape)
    loss, gradient = original.gradient(w)
    if not (np.isfinite(loss) and np.all(np.isfinite(gradient))):
        raise ValueError("loss or gradient of the model is not finite: start from other parameters")
    again, gradient_again = original.gradient(w)
    if not _agree((loss, gradient), (again, gradient_again), TOLERANCE):
        raise ValueError(
            "two calls of the model differ, but a flow needs one fixed loss: take out what it "
            "remembers, and random numbers"
        )
    _check_slope(w, gradient, original, translations)
    value, slope = value_and_gradient(flat, jnp.asarray(w))
    if not _agree((loss, gradient), (float(value), np.asarray(slope)), TOLERANCE):
        _refuse("loss or gradient", translations)
    product = np.asarray(hessian_product(flat, jnp.asarray(w), jnp.asarray(v)))
    _check_product(product, w, v, original, translations)


def _agree(one: Any, other: Any, tolerance: float) -> bool:
    return all(
        np.linalg.norm(np.subtract(a, b)) <= tolerance * np.linalg.norm(a)
        for a, b in zip(one, other, strict=True)
    )


def _check_slope(w: Any, gradient: Any, original: TorchLoss, translations: Any) -> None:
    steepness = np.linalg.norm(gradient)
    if steepness == 0:
        return
    h = STEP * np.linalg.norm(w)
    ahead, behind = (original.value(w + s * h / steepness * gradient) for s in (1, -1))
    noise = 1e-14 * max(abs(ahead), abs(behind)) / h
    if abs((ahead - behind) / (2 * h) - steepness) > LOOSE * steepness + noise:
        _refuse_what_shows(translations)
        raise ValueError(
            f"torch's gradient is not the derivative of the loss{original.own_derivatives(w)}: a "
            "flow needs one that is; take out backward passes, detach and no_grad that change it"
        )


def _check_product(product: Any, w: Any, v: Any, original: TorchLoss, translations: Any) -> None:
    expected = original.hessian_product(w, v)
    scale = np.linalg.norm(product)
    if expected is not None:
        size = np.linalg.norm(expected)
        if np.linalg.norm(product - expected) <= 10 * TOLERANCE * max(size, scale):
            return
    h = SHORT_STEP
    ahead, behind = (original.gradient(w + s * h * v)[1] for s in (1, -1))
    measured = (ahead - behind) / (2 * h)
    noise = 1e-14 * np.linalg.norm(ahead) / h
    if np.linalg.norm(product - measured) > LOOSE * scale + noise:
        _refuse("Hessian", translations)


def _refuse_what_shows(translations: list[Translation]) -> None:
    """Raise a ValueError where the source of a difference can be seen in a translation."""
    where = _place(translations, is_random)
    if where is not None:
        raise ValueError(
            f"the model draws random numbers{where}, but a flow needs one fixed loss: take them out"
        )
    where = _place(translations, loses_precision)
    if where is not None:
        raise ValueError(
            f"the model or the loss rounds to a lower precision{where}, but must compute in "
            "float64 too: write x.to(weight.dtype) in place of x.float()"
        )


def _refuse(what: str, translations: list[Translation]) -> None:
    _refuse_what_shows(translations)
    raise ValueError(
        f"the {what} of the translation by torchax differs from torch's, so that it is not used: "
        "replace the layers that are not torch's own, or write the model in JAX"
    )


def _place(translations: list[Translation], kind: Any) -> str | None:
    for translation in translations:
        where = translation.place_of(kind)
        if where is not None:
            return where
    return None
