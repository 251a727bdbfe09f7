"""Samples shared out among several devices, of one process or of many.

JAX computes where data lie, and sums over samples become sums over devices.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

if TYPE_CHECKING:
    from thalweg.problems.supervised import Supervised

AXIS = "samples"


def shard_samples(problem: "Supervised", devices: int | None = None) -> "Supervised":
    """Return the problem with its samples on several devices, equally many on each.

    Losses, sharpnesses and flows are those of one device, up to the order of sums. Parameters are
    held whole by every device.

    Parameters
    ----------
    problem
        Of several processes each has to make the same one, and all have to ask the same of it.
    devices
        How many: the first of `jax.devices()`; left out, all of them.

    Raises
    ------
    ValueError
        There are fewer devices, or the samples cannot be shared out equally.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import thalweg as tw
    >>> problem = tw.Supervised(lambda w, x: x @ w, jnp.eye(2), jnp.ones(2))
    >>> float(shard_samples(problem, 1)(jnp.ones(2)))
    0.0
    """
    there, samples = jax.devices(), len(problem.y)
    count = len(there) if devices is None else devices
    if not 1 <= count <= len(there):
        raise ValueError(
            f"{count} devices are asked for, but JAX has {len(there)} ({there[0].platform}): "
            "choose fewer; of processors JAX makes as many as JAX_NUM_CPU_DEVICES says"
        )
    if samples % count:
        raise ValueError(
            f"{samples} samples cannot be shared out equally among {count} devices: choose a "
            "number of devices that divides them"
        )
    mesh = Mesh(np.asarray(there[:count]), (AXIS,), axis_types=(AxisType.Auto,))
    along_samples = NamedSharding(mesh, PartitionSpec(AXIS))

    def placed(data: Array) -> Array:
        host = np.asarray(data)
        return jax.make_array_from_callback(host.shape, along_samples, host.__getitem__)

    sharded: Supervised = eqx.tree_at(
        lambda problem: (problem.x, problem.y), problem, replace_fn=placed
    )
    return sharded


def mesh_across_processes(arrays: Sequence[Any]) -> Mesh | None:
    """Return the mesh of an array of which other processes hold a part, `None` if there is none."""
    if jax.process_count() == 1:
        return None
    across = (a for a in arrays if isinstance(a, jax.Array) and not a.is_fully_addressable)
    return next((array.sharding.mesh for array in across), None)  # type: ignore[attr-defined]


def jit_on(
    mesh: Mesh | None, function: Callable[..., Any], options: dict[str, bool] | None
) -> Callable[..., Any]:
    """Return the function compiled, with these options of the compiler.

    On a mesh across processes all arrays are whole in each of them, but for those that lie on it.
    """
    if mesh is None:
        return jax.jit(function, compiler_options=options)
    whole = NamedSharding(mesh, PartitionSpec())
    run = jax.jit(function, compiler_options=options, out_shardings=whole)

    def to_mesh(array: Any) -> Any:
        if not isinstance(array, jax.Array) or not array.is_fully_addressable:
            return array  # NumPy's are placed by JAX
        copies = [jax.device_put(array, device) for device in mesh.local_devices]
        return jax.make_array_from_single_device_arrays(array.shape, whole, copies)

    def call(*args: Any) -> Any:
        return jax.tree.map(
            lambda array: array.addressable_data(0), run(*jax.tree.map(to_mesh, args))
        )

    return call
