"""Supervised learning with a torch module and a torch loss."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.basics.lazy import Lazy
from thalweg.problems import Supervised, flatten
from thalweg.torch.guard import check_not_random, check_translation
from thalweg.torch.losses import recognize
from thalweg.torch.module import Module, in_float64
from thalweg.torch.reference import TorchLoss
from thalweg.torch.translation import Translation, array, check_versions

torch = Lazy("torch")


class Fixed(eqx.Module):
    """An array of float64 that is not trained: its bits, since what has a gradient is trained."""

    bits: Any

    @property
    def value(self) -> Array:
        """The array."""
        return jax.lax.bitcast_convert_type(self.bits, jnp.float64)


class _Prediction:
    """A module times a number, as a function of JAX arrays."""

    def __init__(self, module: Module, scale: float):
        self.module, self.scale = module, scale
        self.translation = Translation(module.output)

    def __call__(self, w: dict[str, Any], x: Array) -> Array:
        out = self.translation(_values(w), x)
        return out if self.scale == 1.0 else self.scale * out


def _values(w: dict[str, Any]) -> dict[str, Any]:
    return {name: one.value if isinstance(one, Fixed) else one for name, one in w.items()}


class TorchProblem(Supervised):
    """The loss of a torch module over a whole data set. Made by `supervised`.

    Parameters `w` are a dictionary of arrays by the names of the state dict: those that are
    trained, in float64, and buffers and frozen ones as `Fixed`, which is data, and may change
    between checkpoints.
    """

    has_independent_samples: bool

    def __init__(
        self, prediction: Any, x: Any, y: Any, loss: Any, *, has_independent_samples: bool
    ):
        super().__init__(prediction, x, y, loss)
        self.has_independent_samples = has_independent_samples

    def independent_samples(self, w: Any) -> int | None:
        """Return `samples`, where the module gives of a sample alone what it gives of all."""
        return self.samples if self.has_independent_samples else None

    def parameters(self, source: Any) -> dict[str, Any]:
        """Return the parameters and buffers of a module, or of a state dict, copied.

        Raises
        ------
        ValueError
            Names are missing or unexpected, shapes differ, or tied parameters do.
        TypeError
            It is neither.
        """
        module = self.predict.module  # type: ignore[attr-defined]
        w: dict[str, Any] = {}
        for name, tensor in module.tensors(source).items():
            if not tensor.is_floating_point():
                w[name] = array(tensor)
            elif name in module.trained:
                w[name] = array(tensor.double())
            else:
                bits = tensor.detach().cpu().double().contiguous().numpy().view(np.int64)
                w[name] = Fixed(jnp.array(bits, copy=True))
        return w

    def state_dict(self, w: dict[str, Any]) -> dict[str, Any]:
        """Return parameters as tensors, in the dtypes of the module, for its `load_state_dict`."""
        module = self.predict.module  # type: ignore[attr-defined]
        values = _values(w)
        return {
            name: torch.from_numpy(np.array(values[first])).to(module.kinds[first])
            for name in module.saved
            for first in [module.aliases.get(name, name)]
        }


def supervised(model: Any, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> TorchProblem:
    """Return the problem of a torch module on data: `L(w) = loss(model(x), y)`, in float64.

    Module and loss are translated to JAX, and the translation is held to torch's own loss,
    gradient and Hessian product; the module and what else is torch's is left as it is.

    Parameters
    ----------
    model
        A `torch.nn.Module`, in the mode (`train` or `eval`) in which the loss is meant.
    x, y
        Tensors, the whole data set; `model(x)` returns one tensor.
    loss
        A torch loss: `nn.MSELoss()`, `nn.CrossEntropyLoss()`, or any callable of outputs and `y`
        that returns a scalar.

    Raises
    ------
    ImportError
        torch or torchax is missing, or they do not fit together.
    ValueError
        JAX's x64 mode is off; the model is random, cannot be called on `x`, or cannot be
        translated; or its translation is wrong.
    TypeError
        The model is no module, or the data are no tensors.
    """
    check_versions()
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "PyTorch models are measured in float64: call jax.config.update('jax_enable_x64', "
            "True) first"
        )
    for what, data in (("x", x), ("y", y)):
        if not isinstance(data, torch.Tensor):
            raise TypeError(f"{what} must be one tensor, not {type(data).__name__}")
    module, loss = Module(model), in_float64(loss)
    check_not_random(module)
    x, y = (_lifted(data) for data in (x, y))
    tensors = {name: _lifted(one) for name, one in module.tensors(model).items()}
    original = TorchLoss(module, tensors, x, y, loss)
    outputs, is_independent = original.outputs()
    name, scale, targets = recognize(loss, outputs, y)
    original.check_loss(outputs)
    prediction = _Prediction(module, scale)
    translated = Translation(loss)
    problem = TorchProblem(
        prediction,
        array(x),
        array(targets),
        name or translated,
        has_independent_samples=is_independent,
    )
    w = problem.parameters(model)
    jax.eval_shape(problem, w)  # so that what cannot be translated is told as that
    check_translation(*flatten(problem, w), original, [prediction.translation, translated])
    return problem


def _lifted(tensor: Any) -> Any:
    tensor = tensor.detach().cpu()
    return tensor.double() if tensor.is_floating_point() else tensor.clone()
