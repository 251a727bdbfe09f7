"""What the eigensolver starts from: random vectors, or the eigenvectors of a neighbour."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# Products on a digits network (p = 8,970, step 300 of GD) from the vector of the iterate before, at
# tol 1e-3 / 1e-4 / 1e-5 / 1e-6: 16 / 15 / 15 / 16, from a random vector 15 / 20 / 23 / 26. With
# 0.3 for the random part at every tolerance it was 4 / 9 / 13 / 16, but at 1e-3 an eigenvalue
# that had overtaken by a tenth was missed in 10 of 20 trials (p = 5,000), now in none.
LEAST_RANDOM_PART = 0.3
RANDOM_PART_PER_TOLERANCE = 1000


def random_block(seed: int, p: int, k: int, dtype: Any) -> Array:
    """Return `k` random columns of about unit length, shape `(p, k)`."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal((p, k)) / p**0.5, dtype)


def warm_block(seed: int, vectors: Array, k: int, *, tol: float) -> Array:
    """Return `k` start columns, shape `(p, k)`, near the eigenvectors of a neighbouring operator.

    Each column is `v + c g`: `v` the unit vector along a column of `vectors` (shape `(p, any)`;
    what is missing is random), `g` random of about unit length, and

        `c = max(0.3, 1000 tol √p)`,    `tol` as the solver will be given.

    The random part is needed: an exact eigenvector of the operator has no residual, and would be
    called converged at once even after another has overtaken it. The eigenvector that has
    overtaken, by a relative `γ`, has a component of about `c / √p` in the start, hence a part
    `γ c / √p` of the residual, which must stand out from `tol`. So `c` grows with `tol`, until
    at `tol` of 1e-3 or more nothing is left of the warm start. Of eigenvalues that had overtaken
    by 1 % none was missed in 80 trials at `tol` of 1e-3 to 1e-6 (p = 5,000), by 0.3 % 10 were, by
    0.1 % about half; of some ahead by 3 %, at 1e-3, 7 in 400 (p = 150), where a cold start missed
    3: a random vector may hold next to nothing of an eigenvector. Then the value is too low by `γ`
    although its residual is small: start cold where that matters.
    """
    p = vectors.shape[0]
    block = np.array(random_block(seed, p, k, vectors.dtype))
    known = np.asarray(vectors)[:, :k]
    length = np.linalg.norm(known, axis=0)
    known = known / np.where(length > 0, length, 1.0)
    part = max(LEAST_RANDOM_PART, RANDOM_PART_PER_TOLERANCE * tol * p**0.5)
    columns = known.shape[1]
    block[:, :columns] = known + part * block[:, :columns]
    return jnp.asarray(block)
