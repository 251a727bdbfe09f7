"""Supervised learning: a model, data, and a loss of its outputs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from thalweg.problems.checks import checked
from thalweg.problems.convolutions import with_products
from thalweg.problems.problem import Params, Problem


class Supervised(Problem):
    """`L(w) = loss(predict(w, x), y)` over the whole data set.

    Floating-point data are cast to the dtype of the parameters.

    Parameters
    ----------
    predict
        The model: `predict(w, x) -> outputs`, on the whole batch `x`.
    x, y
        Inputs and targets, `n` samples along the first axis. For `"squared"` the targets have the
        shape of the outputs; for `"cross_entropy"` they are class numbers `(n,)` or probabilities
        `(n, classes)`.
    loss
        `"squared"`: `1/(2n) Σ (outputs - y)²`, summed over samples and outputs;
        `"cross_entropy"`: the mean over samples of `-log softmax(outputs)[y]`;
        or a callable `(outputs, y) -> scalar`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = Supervised(lambda w, x: x @ w, jnp.eye(2), jnp.ones(2))
    >>> round(float(problem(jnp.zeros(2))), 6)  # (1 + 1) / (2 * 2)
    0.5
    """

    predict: Callable[[Any, Any], Array]
    x: Array
    y: Array
    loss: str | Callable[[Any, Any], Array]

    def __init__(
        self,
        predict: Callable[[Any, Any], Array],
        x: Any,
        y: Any,
        loss: str | Callable[[Any, Any], Array] = "squared",
    ):
        if isinstance(loss, str) and loss not in ("squared", "cross_entropy"):
            raise ValueError(
                f"unknown loss {loss!r}; use 'squared', 'cross_entropy' or a callable (outputs, y)"
            )
        x, y = checked(x, "x"), checked(y, "y")
        if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
            raise ValueError(
                f"x and y must hold the same number of samples along the first axis, "
                f"but have shapes {x.shape} and {y.shape}"
            )
        if x.shape[0] == 0:
            raise ValueError("x and y hold no samples; pass at least one")
        is_classes = loss == "cross_entropy" and jnp.issubdtype(y.dtype, jnp.integer)
        if is_classes and bool(jnp.any(y < 0)):
            raise ValueError("y holds negative class numbers; count the classes from 0")
        self.predict, self.x, self.y, self.loss = predict, x, y, loss

    @property
    def is_least_squares(self) -> bool:
        """Whether the loss is the squared one."""
        return isinstance(self.loss, str) and self.loss == "squared"

    def outputs(self, w: Params) -> Array:
        """Return `predict(w, x)`, data and outputs in the dtype of the parameters."""
        return self._outputs(w, _cast(self.x, _dtype(w)))

    def _outputs(self, w: Params, x: Array) -> Array:
        # A model may compute in a lower precision; derivatives are wanted in that of `w`.
        outputs: Array = with_products(self.predict, w, x).astype(_dtype(w))
        return outputs

    def residuals(self, w: Params) -> Array:
        """Return `(outputs - y) / √n`, flattened."""
        if not self.is_least_squares:
            return super().residuals(w)
        outputs = self.outputs(w)
        if outputs.shape != self.y.shape:
            raise ValueError(
                f"predict returned shape {outputs.shape}, but the targets have {self.y.shape}; "
                "make them equal"
            )
        scale = jnp.sqrt(jnp.asarray(self.y.shape[0], outputs.dtype))
        return ((outputs - _cast(self.y, outputs.dtype)) / scale).ravel()

    @property
    def samples(self) -> int | None:
        """The number of samples of a least-squares loss."""
        return self.y.shape[0] if self.is_least_squares else None

    def independent_samples(self, w: Params) -> int | None:
        """Return `samples` where `predict` gives of one sample what it gives of a batch of one."""
        if self.samples is None:
            return None
        one = jax.ShapeDtypeStruct((1, *self.x.shape[1:]), _cast_dtype(self.x, _dtype(w)))
        try:
            shape = eqx.filter_eval_shape(self.predict, w, one).shape
        except Exception:  # whatever a model raises where it needs the whole batch
            return None
        return self.samples if shape == (1, *self.y.shape[1:]) else None

    def jacobian_matrix(self, w: Params) -> Array:
        """Return `J`, shape `(m, p)`: the model is called, and differentiated, sample by sample.

        This is worth as many gradients as there are outputs, and right where samples do not
        influence each other (unlike with batch normalisation). Where the model cannot be called on
        one sample, rows are taken one product at a time.
        """
        if self.independent_samples(w) is None:
            return super().jacobian_matrix(w)
        arrays, rest = eqx.partition(w, eqx.is_inexact_array)
        flat, unravel = ravel_pytree(arrays)

        def outputs(flat: Array, x: Array) -> Array:
            return self._outputs(eqx.combine(unravel(flat), rest), x[None]).ravel()

        rows: Array = jax.vmap(jax.jacrev(outputs), (None, 0))(flat, _cast(self.x, _dtype(w)))
        scale = jnp.sqrt(jnp.asarray(self.y.shape[0], rows.dtype))
        return (rows / scale).reshape(-1, flat.size)

    def sample_kernel(self, w: Params) -> Array | None:
        """Return the tangent kernel averaged over outputs, `C_ij ≈ Σ_o J_io · J_jo / outputs`.

        One random combination of the outputs with signs ±1 stands for the average, in single
        precision: `n` gradients of one sample each and one product of `(n, p)` matrices, worth
        about `1 + n/3` gradients. The model is called on one sample at a time.
        """
        if self.independent_samples(w) is None:
            return None
        n = self.y.shape[0]
        outputs = max(self.y.size // n, 1)
        signs = jax.random.rademacher(jax.random.key(0), self.y.shape[1:], float).astype(
            jnp.float32
        )

        def combined(w: Params, x: Array) -> Array:
            return jnp.sum(self._outputs(w, x[None])[0].astype(jnp.float32) * signs)

        def row(x: Array) -> Array:
            gradient = eqx.filter_grad(combined)(w, x)
            return ravel_pytree(gradient)[0].astype(jnp.float32)

        rows: Array = jax.lax.map(row, _cast(self.x, _dtype(w)), batch_size=min(n, 256))
        return (rows @ rows.T / (n * outputs)).astype(_dtype(w))

    def __call__(self, w: Params) -> Array:
        """Return the loss over the whole data set."""
        if self.is_least_squares:
            r = self.residuals(w)
            return 0.5 * jnp.vdot(r, r)
        outputs = self.outputs(w)
        if isinstance(self.loss, str):
            return _cross_entropy(outputs, self.y)
        return self.loss(outputs, _cast(self.y, outputs.dtype))


def _cross_entropy(outputs: Array, y: Array) -> Array:
    log_p = jax.nn.log_softmax(outputs)
    if jnp.issubdtype(y.dtype, jnp.integer):
        if outputs.ndim != 2 or y.shape != outputs.shape[:1]:
            raise ValueError(
                f"cross_entropy needs outputs (n, classes) and class numbers (n,), "
                f"but the shapes are {outputs.shape} and {y.shape}"
            )
        # A class number beyond the outputs gives NaN, which is told wherever a loss is.
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1, mode="fill"))
    if y.shape != outputs.shape:
        raise ValueError(
            f"cross_entropy needs probabilities of the outputs' shape {outputs.shape}, "
            f"but y has {y.shape}; or pass class numbers as integers"
        )
    return -jnp.mean(jnp.sum(log_p * _cast(y, outputs.dtype), axis=-1))


def _dtype(w: Params) -> Any:
    leaves = jax.tree.leaves(eqx.filter(w, eqx.is_inexact_array))
    return jnp.result_type(*leaves)


def _cast_dtype(data: Array, dtype: Any) -> Any:
    return dtype if jnp.issubdtype(data.dtype, jnp.inexact) else data.dtype


def _cast(data: Array, dtype: Any) -> Array:
    return data.astype(_cast_dtype(data, dtype))
