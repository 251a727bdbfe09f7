"""Diagonal linear networks on small data: closed form through the convex dual."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.basics.checks import Count, Depth, Positive
from thalweg.basics.memory import check_fits
from thalweg.runs.seeded import SeededExperiment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES, DIMENSION, NONZERO = 20, 40, 3


@dataclass(frozen=True, kw_only=True)
class SquaredRegressionExperiment(SeededExperiment):
    """Squared regression <u∘u - v∘v, x>, solved through its convex dual.

    Attributes
    ----------
    data
        "sparse": standard normal inputs, and targets that depend on a few features alone, with
        coefficients 1, the start u = v = scale. "random": the same inputs, standard normal
        coefficients for all features, and a start within 10 % of the scale. "diabetes":
        scikit-learn's 442 patients with 10 features, all normalised, the start u = v = scale.
    samples
        Number of data points: left out, 20 random ones, or all patients.
    dimension
        Number of features of random data: left out, 40.
    nonzero
        Of sparse data, the number of features on which the targets depend: left out, 3.
    scale
        Scale of the start.
    depth
        The power of u and v: 2 is squared regression, more are deeper diagonal networks.
    seed
        Seed of random data and starts (an integer of at least 0). Several are several of both.
    """

    name: ClassVar[str] = "squared-regression"
    summary: ClassVar[str] = "a diagonal linear network, closed form by convex dual (seconds)"
    data_are_seeded: ClassVar[bool] = True

    # From the default start the GFS sharpness is 4.99, above the threshold 2.78.
    step_size: tuple[float, ...] = (0.72,)
    steps: int = 400
    sharpness_every: int = 1  # at every other step its oscillation, of period two, is not seen
    gfs_every: int = 1
    data: Literal["sparse", "random", "diabetes"] = "sparse"
    samples: Count | None = None
    dimension: Count | None = None
    nonzero: Count | None = None
    scale: Positive = 0.3
    depth: Depth = 2

    @property
    def title(self) -> str:
        """Network, data, loss."""
        kind = (
            "squared regression" if self.depth == 2 else f"diagonal network of depth {self.depth}"
        )
        if self.data == "diabetes":
            return f"{kind} on {self.samples or 442} patients, 10 features, squared loss"
        return (
            f"{kind} on {self.samples or SAMPLES} {self.data} samples, {self._dimension} features, "
            "squared loss"
        )

    def check(self) -> None:
        """As for every experiment, and the sizes."""
        super().check()
        if self.nonzero is not None and self.data != "sparse":
            raise ValueError(f"nonzero is of sparse data, not of {self.data}: leave it out")
        if self.dimension is not None and self.data == "diabetes":
            raise ValueError("the diabetes data have 10 features: leave dimension out")
        if self.data == "sparse" and (nonzero := self.nonzero or NONZERO) > self._dimension:
            raise ValueError(f"nonzero is {nonzero}, but there are only {self._dimension} features")

        numbers = 6 * (self.samples or SAMPLES) * self._dimension
        check_fits(8 * numbers, "the data", "choose fewer samples or a smaller dimension")

    def build(self) -> tuple[Any, Any]:
        """Return the problem and the start `{"u": (dimension,), "v": (dimension,)}`."""
        import jax.numpy as jnp
        import numpy as np

        from thalweg.diagonal import DiagonalNetwork, SquaredRegression

        random = np.random.default_rng(self.one_seed)
        x, y = self._inputs_and_targets(random)
        ends = (0.9, 1.1) if self.data == "random" else (1.0, 1.0)
        u, v = self.scale * random.uniform(*ends, (2, x.shape[1]))
        problem = SquaredRegression(x, y) if self.depth == 2 else DiagonalNetwork(x, y, self.depth)
        return problem, {"u": jnp.asarray(u), "v": jnp.asarray(v)}

    @property
    def _dimension(self) -> int:
        return self.dimension or DIMENSION

    def _inputs_and_targets(
        self, random: "np.random.Generator"
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        if self.data == "diabetes":
            from thalweg.data import diabetes

            return diabetes(self.samples or 442)
        x = random.normal(size=(self.samples or SAMPLES, self._dimension))
        if self.data == "random":
            return x, x @ random.normal(size=self._dimension)
        return x, x[:, : self.nonzero or NONZERO].sum(axis=1)
