"""Squared regression: linear regression through `β = u∘u - v∘v`."""

from jaxtyping import ArrayLike

from thalweg.diagonal.network import DiagonalNetwork


class SquaredRegression(DiagonalNetwork):
    """`L(u, v) = 1/(2n) Σ_k (<u∘u - v∘v, x_k> - y_k)²`, the diagonal network of depth two.

    Parameters
    ----------
    x, y
        Inputs `(n, d)` and targets `(n,)`. The parameters are `{"u": (d,), "v": (d,)}`.

    Raises
    ------
    ValueError
        The data hold NaN or infinity, no samples, or do not fit together.

    Notes
    -----
    The model is one of those in Kreisler, Shpigel Nacson, Soudry and Carmon, ICML 2023,
    arXiv 2305.13064.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = SquaredRegression(jnp.ones((1, 1)), jnp.ones(1))
    >>> w = {"u": jnp.array([0.6]), "v": jnp.array([0.3])}
    >>> round(float(problem(w)), 4)  # ½ (0.36 - 0.09 - 1)²
    0.2664
    >>> end = problem.flow_limit(w)  # u v = 0.18 is conserved, u² - v² = 1 at the end
    >>> round(float(end.sharpness), 4), round(float(4 * (1 + 4 * 0.18**2) ** 0.5), 4)
    (4.2513, 4.2513)
    """

    def __init__(self, x: ArrayLike, y: ArrayLike):
        super().__init__(x, y, depth=2)
