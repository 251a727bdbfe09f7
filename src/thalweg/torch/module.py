"""A module as a function of its tensors, in float64, on a copy: the user's is left alone."""

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from thalweg.basics.lazy import Lazy
from thalweg.torch.mistakes import ModelError

torch = Lazy("torch")

FEW = 3
"""So many names stand in a message."""
LOCK = threading.RLock()
"""Around all that sets torch's modes, and that swaps the tensors of a module."""


def bare(module: Any) -> Any:
    """Return the module inside of what `torch.compile` or data-parallel training wrap around it."""
    for name in ("_orig_mod", "module"):
        inner = getattr(module, "_modules", {}).get(name)
        if inner is not None and len(module._modules) == 1 and not module._parameters:
            return bare(inner)
    return module


class Module:
    """A copy of a torch module: `module(tensors, x)` with `tensors` by name, some of them trained.

    Attributes
    ----------
    kinds
        The dtype of each tensor in the user's module, by name; a tied one has one name only.
    aliases
        Further names of tied tensors, with the name that stands for them.
    trained
        Names of what has `requires_grad`.
    saved
        Names that a state dict holds.
    """

    def __init__(self, module: Any):
        module = bare(module)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"the model must be a torch.nn.Module, not {type(module).__name__}")
        _check_initialized(module)
        self._copy = in_float64(module)
        self.aliases, names = {}, dict[int, str]()
        self.kinds, self.trained = {}, set[str]()
        for name, tensor in _tensors(module):
            if id(tensor) in names:
                self.aliases[name] = names[id(tensor)]
                continue
            names[id(tensor)] = name
            self.kinds[name] = tensor.dtype
            if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad:
                self.trained.add(name)
        self.saved = {name for name in module.state_dict() if not name.endswith("_extra_state")}
        if not self.trained:
            raise ValueError("no parameter of the model has requires_grad: nothing is trained")
        for parameter in self._copy.parameters():
            parameter.requires_grad_(False)

    def __call__(self, tensors: Mapping[str, Any], x: Any) -> Any:
        """Return the module's output on `x`; what it does to its buffers is lost."""
        tied = {name: tensors[first] for name, first in self.aliases.items()}
        return torch.func.functional_call(self._copy, {**tensors, **tied}, (x,))

    def output(self, tensors: Mapping[str, Any], x: Any) -> Any:
        """Return the module's output on `x`, or raise a ValueError if that is no tensor."""
        out = self(tensors, x)
        if isinstance(out, torch.Tensor):
            return out
        raise ModelError(
            f"the model returns a {type(out).__name__}: wrap it in a module that returns one tensor"
        )

    def tensors(self, source: Any) -> dict[str, Any]:
        """Return tensors by name, those of a module like this one or of a state dict.

        Raises
        ------
        ValueError
            Names are missing or unexpected, or shapes differ.
        """
        source = bare(source)
        if isinstance(source, torch.nn.Module):
            given = dict(_tensors(source))
            needed = self.kinds.keys() | self.aliases.keys()
        elif isinstance(source, Mapping):
            given = {k: v for k, v in source.items() if not str(k).endswith("_extra_state")}
            needed = self.saved
        else:
            raise TypeError(
                f"parameters come from a module or a state dict, not from {type(source).__name__}"
            )
        _check_names(needed, given)
        own = dict(_tensors(self._copy))
        for name, tensor in given.items():
            if tuple(tensor.shape) != tuple(own[name].shape):
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, but {tuple(own[name].shape)} in the "
                    "model of this problem: build the problem from the model that was trained"
                )
            first = self.aliases.get(name, name)
            if first != name and first in given and not torch.equal(tensor, given[first]):
                raise ValueError(
                    f"{name} and {first} are one tensor in the model of this problem, but differ "
                    "here: build the problem from a model that does not tie them"
                )
        return {name: given.get(name, own[name]) for name in self.kinds}

    def layers(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers with their names."""
        yield from self._copy.named_modules()


def _tensors(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def in_float64(thing: Any) -> Any:
    """Return a copy of a module, or of a loss, on the CPU and in float64; functions as they are."""
    if not isinstance(thing, torch.nn.Module):
        return thing
    inside = [layer for _, layer in thing.named_modules()]
    loose = [one for layer in inside for one in vars(layer).values() if _is_tensor(one)]
    copied = copy.deepcopy(thing, {id(one): one.detach().clone() for one in loose})
    copied.to("cpu").double()
    for layer in copied.modules():
        for name, one in vars(layer).items():  # tensors that are no buffers, as torch leaves them
            if _is_tensor(one):
                one = one.cpu()
                setattr(layer, name, one.double() if one.is_floating_point() else one)
    return copied


def _is_tensor(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and not isinstance(thing, torch.nn.Parameter)


def _check_initialized(module: Any) -> None:
    for name, tensor in _tensors(module):
        if torch.nn.parameter.is_lazy(tensor):
            raise ValueError(f"{name} has no shape yet: call the model once before, as model(x)")


def _check_names(needed: Any, given: Mapping[str, Any]) -> None:
    missing, unexpected = sorted(needed - given.keys()), sorted(map(str, given.keys() - needed))
    said = []
    for what, names in (("misses", missing), ("has the unexpected", unexpected)):
        if names:
            more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
            said.append(f"{what} {', '.join(names[:FEW])}{more}")
    if not said:
        return
    hint = "pass the state dict of the same architecture"
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in unexpected):
            hint = f"take {prefix!r} off its keys"
    holders = [key for key in unexpected if isinstance(given.get(key), Mapping)]
    if holders:
        hint = f"pass one of its entries, as checkpoint[{holders[-1]!r}]"
    raise ValueError(f"the state dict {' and '.join(said)}: {hint}")


@contextmanager
def evaluation(device: str | None = None) -> Iterator[None]:
    """Have torch compute with gradients, in float64 and without traces on the user's settings.

    New tensors without a dtype are of float64, as the parameters are, and on `device`. Attention
    is computed by its formula, since its other kernels have no second derivative.
    """
    math = torch.nn.attention.SDPBackend.MATH
    with LOCK, ExitStack() as stack:
        fast = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.nn.attention.sdpa_kernel(math))
        stack.enter_context(_constructors_in_float64(device))
        yield


def _constructors_in_float64(device: str | None) -> Any:
    from torch.overrides import TorchFunctionMode

    constructors = {
        *(torch.tensor, torch.as_tensor, torch.zeros, torch.ones, torch.full, torch.empty),
        *(torch.arange, torch.linspace, torch.logspace, torch.eye, torch.rand, torch.randn),
    }

    class Constructors(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if function not in constructors:
                return function(*args, **kwargs)
            if device is not None and kwargs.get("device") is None:
                kwargs["device"] = device
            result = function(*args, **kwargs)
            if kwargs.get("dtype") is None and result.dtype == torch.get_default_dtype():
                kwargs["dtype"] = torch.float64
                return function(*args, **kwargs)
            return result

    return Constructors()
