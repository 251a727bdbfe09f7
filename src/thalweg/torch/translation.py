"""Functions of torch tensors as functions of JAX arrays, by torchax, behind a lock.

A function is traced once for each shape of its arguments; what comes of it is plain JAX, so that
neither torch nor the lock is there when it is differentiated, compiled and run.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from thalweg.basics.lazy import Lazy
from thalweg.torch.mistakes import first_line, place, place_of
from thalweg.torch.module import LOCK, evaluation

torch = Lazy("torch")

TESTED = "torch 2.13 and 2.14 with torchax 0.0.13"


def check_versions() -> None:
    """Raise an ImportError where torch or torchax is missing, or they do not fit together."""
    have = []
    for name in ("torch", "torchax"):
        try:
            have.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise ModuleNotFoundError(
                f"{name} is not installed: pip install 'thalweg[torch]' (tested: {TESTED})"
            ) from None
    try:
        with LOCK:
            _environment()
    except Exception as error:
        raise ImportError(
            f"{' and '.join(have)} do not fit together ({first_line(error)}): install what is "
            f"tested, {TESTED}"
        ) from error


@cache
def _environment() -> Any:
    """Return torchax's dispatcher of operators; settings that its import changes are put back."""
    import torch

    is_new = "torchax" not in sys.modules
    fast, variables = torch.backends.mha.get_fastpath_enabled(), dict(os.environ)
    try:
        with _without_removed_operators():
            import torchax.tensor

            class Environment(torchax.tensor.Environment):  # type: ignore[misc]
                """With tensors from outside, as those that a function closes over, as constants."""

                def dispatch(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
                    given = torch.utils._pytree.tree_leaves((args, kwargs))
                    if any(isinstance(one, own) for one in given):
                        args, kwargs = torch.utils._pytree.tree_map_only(
                            torch.Tensor,
                            lambda one: one if isinstance(one, own) else self.j2t_iso(array(one)),
                            (args, kwargs),
                        )
                    try:
                        return super().dispatch(func, types, args, kwargs)
                    except Exception as error:
                        vars(error).setdefault("operator", getattr(func, "__name__", str(func)))
                        raise

            own = (torchax.tensor.Tensor, torchax.tensor.View)
            if is_new:  # or DataParallel, on a machine without a GPU, would choose JAX as one
                torchax.device_module.is_available = lambda: False
            return Environment()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for name in os.environ.keys() - variables:
            del os.environ[name]


@contextmanager
def _without_removed_operators() -> Iterator[None]:
    """Have torchax find nothing in place of operators that it names and torch no longer has."""
    kinds = (torch._ops.OpOverloadPacket, torch._ops._OpNamespace)

    class Absent:
        """A key of torchax's tables that is never looked up, as are its overloads."""

        def __getattr__(self, name: str) -> "Absent":
            return Absent()

    def tolerant(find: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def found_or_nothing(self: Any, name: str) -> Any:
            try:
                return find(self, name)
            except AttributeError:
                if not sys._getframe(1).f_globals.get("__name__", "").startswith("torchax"):
                    raise
                return Absent()

        return found_or_nothing

    finders = [kind.__getattr__ for kind in kinds]
    try:
        for kind, find in zip(kinds, finders, strict=True):
            kind.__getattr__ = tolerant(find)
        yield
    finally:
        for kind, find in zip(kinds, finders, strict=True):
            kind.__getattr__ = find


def array(tensor: Any) -> jax.Array:
    """Return a copy of a tensor as a JAX array, in its dtype."""
    tensor = tensor.detach().cpu().resolve_conj()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return jax.numpy.array(tensor.numpy(), copy=True)


class Translation:
    """A function of torch tensors, in any tree, as one of JAX arrays."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._traced: dict[Any, ClosedJaxpr] = {}

    def __call__(self, *arguments: Any) -> jax.Array:
        """Return what the function returns."""
        out: jax.Array = jaxpr_as_fun(self.traced(*arguments))(*jax.tree.leaves(arguments))[0]
        return out

    def traced(self, *arguments: Any) -> ClosedJaxpr:
        """Return the function as a JAX expression, for arguments of these shapes.

        Raises
        ------
        ValueError
            It cannot be translated; says why, and where.
        """
        leaves, structure = jax.tree.flatten(arguments)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        key = structure, tuple((shape.shape, shape.dtype) for shape in shapes)
        with LOCK:
            if key not in self._traced:
                self._traced[key] = self._trace(jax.tree.unflatten(structure, shapes))
            return self._traced[key]

    def place_of(self, kind: Callable[[Any], bool]) -> str | None:
        """Return where in the user's source the first operation of a kind stands, if one does."""
        for traced in self._traced.values():
            for operation in filter(kind, _operations(traced)):
                calls = operation.source_info.traceback
                frames = reversed(calls.frames) if calls else ()
                return place((frame.file_name, frame.line_num) for frame in frames)
        return None

    def _trace(self, shapes: Any) -> ClosedJaxpr:
        environment = _environment()

        def function(*arguments: Any) -> Any:
            out = self._function(*environment.j2t_iso(arguments))
            return environment.t2j_iso(out)

        with jax.ensure_compile_time_eval():  # a trace may be going on outside of this one
            key = jax.random.key(0)
        try:
            with (
                jax.numpy_dtype_promotion("standard"),
                jax.numpy_rank_promotion("allow"),
                environment.override_property(prng=key),
                environment,
                evaluation("jax"),
            ):
                return jax.make_jaxpr(function)(*shapes)
        except Exception as error:
            raise ValueError(_reason(error)) from error


_LOOKS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerBoolConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
"""What JAX says of shapes and branches that depend on numbers."""


def _reason(error: Exception) -> str:
    where = place_of(error)
    if where and isinstance(error, jax.errors.TracerArrayConversionError):
        return f"the model leaves torch for NumPy{where}: compute with torch there"
    if where and isinstance(error, _LOOKS):
        return (
            f"the model looks at numbers to decide what to compute{where}: write it without if, "
            "item or loops that depend on the data, as with torch.where"
        )
    operator = getattr(error, "operator", None)
    what = f"{operator} cannot be translated by torchax" if operator else "torchax failed"
    return f"{what}{where}, use another operation: {first_line(error)}"


def _operations(traced: ClosedJaxpr) -> Iterator[Any]:
    for equation in traced.jaxpr.eqns:
        yield equation
        inner = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda one: isinstance(one, ClosedJaxpr)
        )
        for one in inner:
            if isinstance(one, ClosedJaxpr):
                yield from _operations(one)


def loses_precision(equation: Any) -> bool:
    """Whether an operation rounds to a lower precision than float64."""
    if equation.primitive.name != "convert_element_type":
        return False
    before, after = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
    return bool(
        before == np.float64 and jax.numpy.issubdtype(after, np.floating) and after != before
    )


def is_random(equation: Any) -> bool:
    """Whether an operation draws random numbers."""
    return str(equation.primitive.name).startswith(("random_", "threefry"))
