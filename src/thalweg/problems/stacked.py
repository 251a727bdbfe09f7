"""Several parameters in one pytree, along a leading axis of its arrays, as for `jax.vmap`."""

import equinox as eqx
import jax
from jaxtyping import PyTree

from thalweg.problems.compiling import ARRAYS


def unstacked(ws: PyTree) -> list[PyTree]:
    """Return the entries along the leading axis that all arrays share; a ValueError without one."""
    arrays, rest = eqx.partition(ws, lambda leaf: isinstance(leaf, ARRAYS))
    counts = {leaf.shape[:1] for leaf in jax.tree.leaves(arrays)}
    if len(counts) != 1 or counts == {()}:
        raise ValueError(
            "starts that are stacked need a leading axis of one length everywhere, not "
            f"{sorted(counts)}: stack them so, or give a list"
        )
    ((count,),) = counts
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(count)]
    return [eqx.combine(one, rest) for one in each]
