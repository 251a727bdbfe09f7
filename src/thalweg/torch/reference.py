"""Torch's own loss and its derivatives, in float64."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from thalweg.basics.lazy import Lazy
from thalweg.torch.mistakes import ModelError, first_line, place_of
from thalweg.torch.module import Module, evaluation

torch = Lazy("torch")

SAME = 1e-9
"""Of the outputs, relative: a sample alone and among others gives the same within this."""


class TorchLoss:
    """`loss(module(x), y)` in torch, as a function of the trained tensors as one vector `(p,)`."""

    def __init__(
        self,
        module: Module,
        tensors: Mapping[str, Any],
        x: Any,
        y: Any,
        loss: Callable[[Any, Any], Any],
    ):
        self._module, self._tensors, self._x, self._y, self._loss = module, tensors, x, y, loss
        self._names = sorted(module.trained)

    def outputs(self) -> tuple[Any, bool]:
        """Return the outputs, and whether those of a sample do not depend on the others.

        Raises
        ------
        ValueError
            The model cannot be called on `x`.
        """
        with evaluation(), _mistakes("the model cannot be called on x"):
            outputs = self._predict({}, self._x)
            return outputs.detach(), self._is_independent(outputs)

    def check_loss(self, outputs: Any) -> None:
        """Raise a ValueError where the loss of outputs cannot be computed, or is no number."""
        with evaluation(), _mistakes("the loss cannot be called on outputs and y"):
            value = self._loss(outputs, self._y)
        if getattr(value, "shape", None) != ():
            raise ValueError("the loss must return one number: choose a reduction, as 'mean'")

    def _is_independent(self, outputs: Any) -> bool:
        scale = outputs.abs().max()
        for one in {0, len(self._x) // 2, len(self._x) - 1}:
            try:
                alone = self._predict({}, self._x[one : one + 1])
            except Exception:  # whatever a model raises where it needs the whole batch
                return False
            among = outputs[one : one + 1]
            if alone.shape != among.shape or bool((alone - among).abs().max() > SAME * scale):
                return False
        return True

    def _predict(self, trained: Mapping[str, Any], x: Any) -> Any:
        # Buffers may be changed in place: of these, a copy.
        tensors = {name: one.clone() for name, one in self._tensors.items()}
        return self._module.output({**tensors, **trained}, x)

    def _value(self, trained: list[Any]) -> Any:
        named = dict(zip(self._names, trained, strict=True))
        return self._loss(self._predict(named, self._x), self._y)

    def _split(self, vector: Any) -> list[Any]:
        shapes = [self._tensors[name].shape for name in self._names]
        parts = torch.from_numpy(np.array(vector)).split([shape.numel() for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _leaves(self, vector: Any) -> list[Any]:
        return [part.clone().requires_grad_() for part in self._split(vector)]

    def value(self, vector: Any) -> float:
        """Return the loss."""
        with evaluation():
            return float(self._value(self._split(vector)).detach())

    def gradient(self, vector: Any) -> tuple[float, Any]:
        """Return the loss and its gradient, shape `(p,)`."""
        with evaluation():
            trained = self._leaves(vector)
            try:
                value = self._value(trained)
                return float(value.detach()), _joined(_gradient(value, trained))
            except RuntimeError as error:
                raise ValueError(
                    f"torch cannot differentiate the model: {first_line(error)}"
                ) from error

    def hessian_product(self, vector: Any, v: Any) -> Any:
        """Return `∇²L v`, shape `(p,)`, or `None` where torch cannot differentiate twice."""
        with evaluation():
            trained = self._leaves(vector)
            try:
                gradient = _gradient(self._value(trained), trained, create_graph=True)
                pairs = zip(gradient, self._split(v), strict=True)
                return _joined(_gradient(sum((a * b).sum() for a, b in pairs), trained))
            except (RuntimeError, NotImplementedError):  # an operator without a second derivative
                return None

    def own_derivatives(self, vector: Any) -> str:
        """Return the names of the model's own `autograd.Function`s, in brackets, or nothing."""
        with evaluation():
            trained = self._leaves(vector)
            names = sorted(set(_own_functions(self._value(trained).grad_fn)))
        return f" ({', '.join(names)})" if names else ""


def _gradient(value: Any, trained: list[Any], create_graph: bool = False) -> Any:
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in trained]
    return torch.autograd.grad(value, trained, create_graph=create_graph, materialize_grads=True)


def _joined(tensors: Any) -> Any:
    return np.concatenate([one.detach().numpy().ravel() for one in tensors])


def _own_functions(root: Any) -> Iterator[str]:
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            yield type(node).__name__.removesuffix("Backward")
        waiting += [following for following, _ in node.next_functions]


@contextmanager
def _mistakes(what: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        said, where = str(error).lower(), place_of(error)
        if not (("float" in said and "double" in said) or "dtype" in said):
            raise ValueError(f"{what}{where}: {first_line(error)}") from error
        raise ValueError(
            f"a dtype is written into the model or the loss{where}, which must compute in float64 "
            f"too: write x.to(weight.dtype) in place of x.float() ({first_line(error)})"
        ) from error
