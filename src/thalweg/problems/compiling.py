"""Programs compiled for what a user passes, kept no longer than that lives.

`equinox.filter_jit` takes arrays as arguments and everything else as constants, which its cache
holds for ever: a loss that closes over a data set would keep it. Here the cache holds constants
weakly, and a program goes when one of its constants does, as with `jax.jit(loss)`.
"""

import weakref
from collections.abc import Callable
from functools import cache, wraps
from operator import itemgetter
from types import MethodType
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from thalweg.basics.activity import Compiling
from thalweg.problems import lanes
from thalweg.problems.sharding import jit_on, mesh_across_processes

F = TypeVar("F", bound=Callable[..., Any])
ARRAYS = jax.Array, np.ndarray


class _ByValue:
    """A constant without identity, such as a number: equal only to those of the same type."""

    def __init__(self, value: Any):
        self.value = value

    def __call__(self) -> Any:
        return self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return type(other) is _ByValue and (type(self.value), self.value) == (
            type(other.value),
            other.value,
        )


def _weak(constant: Any, forget: Callable[[Any], None] | None = None) -> Callable[[], Any]:
    """Return what gives the constant as long as it lives."""
    if isinstance(constant, MethodType):
        return weakref.WeakMethod(constant, forget)
    try:
        return weakref.ref(constant, forget)
    except TypeError:
        return _ByValue(constant)


@jax.tree_util.register_static
class _OutputStructure:
    """The structure of an output, and its constants, which are often those of the input."""

    def __init__(self, structure: Any, constants: tuple[Any, ...]):
        self.structure, self.constants = structure, constants

    def __hash__(self) -> int:
        return hash((self.structure, self.constants))

    def __eq__(self, other: object) -> bool:
        return type(other) is _OutputStructure and (self.structure, self.constants) == (
            other.structure,
            other.constants,
        )


def split(tree: PyTree) -> tuple[list[Any], Any, tuple[Any, ...]]:
    """Return the leaves of a tree that are arrays (else `None`), its structure, and the others."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [leaf if isinstance(leaf, ARRAYS) else None for leaf in leaves]
    return arrays, structure, tuple(None if isinstance(leaf, ARRAYS) else leaf for leaf in leaves)


def join(arrays: Any, structure: Any, constants: tuple[Any, ...]) -> PyTree:
    """Return the tree that was split, its constants given weakly."""
    leaves = [
        constant() if array is None else array
        for array, constant in zip(arrays, constants, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


class ProgramCache(dict[Any, Any]):
    """What was made for constants, held as long as all of them live."""

    def get_or_make(
        self, structure: Any, constants: tuple[Any, ...], make: Callable[[Any], Any]
    ) -> Any:
        """Return what `make` made of these constants, which are given to it weakly."""
        key = structure, tuple(_weak(constant) for constant in constants)
        if key not in self:
            held: list[Any] = []

            def forget(_: Any) -> None:
                if held:  # nothing is, where it could not be made
                    self.pop(held[0], None)

            weak = tuple(_weak(constant, forget) for constant in constants)
            made = make(weak)
            held.append((structure, weak))
            self[held[0]] = made
        return self[key]


class _Program:
    """A function of a list of arrays, compiled for one call and for several at once."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        mesh: Mesh | None,
        compiling: Compiling,
        options: dict[str, bool] | None,
    ):
        def several(common: list[Any], own: list[Any]) -> Any:
            stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *own)
            leaves, structure = jax.vmap(one, (None, 0))(common, stacked)
            return [jax.tree.map(itemgetter(i), leaves) for i in range(len(own))], structure

        def one(common: list[Any], own: list[Any]) -> Any:
            return function(eqx.combine(common, own))

        self._compiling = compiling
        self._one = jit_on(mesh, function, options)
        self._several = jit_on(mesh, wraps(function)(several), options)

    def __call__(self, arrays: list[Any]) -> Any:
        with self._compiling:
            return self._one(arrays)

    def together(self, calls: list[list[Any]]) -> list[Any]:
        """Return what single calls would; a power of 2 of them are made, to compile seldom."""
        is_common = [all(a is column[0] for a in column) for column in zip(*calls, strict=True)]
        if all(is_common):
            return [self(calls[0])] * len(calls)
        common = eqx.filter(calls[0], is_common)
        own = [eqx.filter(call, is_common, inverse=True) for call in calls]
        unused = (1 << (len(calls) - 1).bit_length()) - len(calls)
        with self._compiling:
            leaves, structure = self._several(common, own + own[:1] * unused)
        return [(leaves[i], structure) for i in range(len(calls))]


@cache
def _quick() -> dict[str, bool]:
    """Return options by which XLA compiles in two thirds of the time, if this version has them.

    Element-wise loops may take half as long again in what was compiled so.
    """
    options = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def compiled(function: F, *, seldom_run: bool = False) -> F:
    """Return `function`, compiled: arrays are arguments, all else is constant, and held weakly.

    Arrays are those of JAX or of NumPy, which cost less where the host makes them.

    Of what is `seldom_run` the time of compiling counts more than that of a run. Where data lie
    with several processes, all else that is passed, and what is returned, is whole in each.
    """
    programs, name = ProgramCache(), function.__name__.strip("_").replace("_", " ")

    @wraps(function)
    def call(*args: Any) -> Any:
        arrays, structure, constants = split(args)
        mesh = mesh_across_processes(arrays)

        def make(weak: tuple[Any, ...]) -> Any:
            compiling = Compiling(name)

            @wraps(function)
            def program(arrays: Any) -> Any:
                compiling.begin()
                arrays, shape, others = split(function(*join(arrays, structure, weak)))
                return arrays, _OutputStructure(shape, tuple(map(_weak, others)))

            return _Program(program, mesh, compiling, _quick() if seldom_run else None)

        program = programs.get_or_make((structure, mesh), constants, make)
        arrays, output = lanes.run(program, arrays)
        return join(arrays, output.structure, output.constants)

    return call  # type: ignore[return-value]
