"""Checks of the data that problems are built from, and of where questions are asked."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import Array

T = TypeVar("T")


def check_not_traced(*values: Any) -> None:
    """Raise a TypeError for values that `jax.jit`, `jax.grad` or `jax.vmap` have taken away."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        raise TypeError(
            "this looks at numbers as it goes, which jax.jit, jax.grad and jax.vmap do not know: "
            "call it outside of them, with arrays; what takes long in it is compiled anyway"
        )


def with_automatic_axes(tree: T) -> T:
    """Return the arrays of `tree` as they are placed, on meshes with `Auto` axes only.

    With `Explicit` axes every product over samples would have to say how its result is placed.
    """

    def automatic(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding):
            return leaf
        mesh = sharding.mesh
        if all(kind is AxisType.Auto for kind in mesh.axis_types):
            return leaf
        if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
            raise ValueError(
                "jax.set_mesh has set a mesh with Explicit axes: leave it out (arrays stay where "
                "they are placed), or set a mesh with axis_types=(jax.sharding.AxisType.Auto, ...)"
            )
        kinds = (AxisType.Auto,) * len(mesh.axis_names)
        mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=kinds)
        return jax.device_put(leaf, NamedSharding(mesh, sharding.spec))

    placed: T = jax.tree.map(automatic, tree)
    return placed


def checked(data: Any, name: str) -> Array:
    """Return `data` as an array.

    Raises
    ------
    ValueError
        It holds NaN or infinity.
    TypeError
        It is a dictionary or a tuple of arrays, holds something else than real numbers, or is
        traced.
    """
    check_not_traced(data)
    if isinstance(data, dict) or (isinstance(data, tuple) and any(map(np.ndim, data))):
        raise TypeError(
            f"{name} is a {type(data).__name__}, but must be one array: put the parts side by side "
            "in one array and take them apart in predict, or pass a callable w -> loss that closes "
            "over them"
        )
    dtype = np.asarray(data).dtype
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(f"{name} must hold real numbers, but is of dtype {dtype}: convert it")
    if np.issubdtype(np.asarray(data).dtype, np.inexact) and not np.all(np.isfinite(data)):
        raise ValueError(f"{name} holds NaN or infinity; remove or impute those entries")
    return with_automatic_axes(jnp.asarray(data))
