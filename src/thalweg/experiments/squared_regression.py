"""A diagonal linear network on small random data: closed form through the convex dual."""

from dataclasses import dataclass
from typing import Any, ClassVar

from thalweg.experiments.experiment import DescentExperiment, check_positive


@dataclass(frozen=True, kw_only=True)
class SquaredRegressionExperiment(DescentExperiment):
    """Squared regression <u∘u - v∘v, x> on random data, solved through its convex dual.

    Attributes
    ----------
    samples
        Number of data points, standard normal.
    dimension
        Their dimension. The targets are linear in them, with standard normal coefficients.
    scale
        Scale of the start: u and v are drawn uniformly within 10 % of it.
    seed
        Seed of the random data and start (an integer of at least 0).
    """

    name: ClassVar[str] = "squared-regression"
    summary: ClassVar[str] = "a diagonal linear network on random data, convex dual (seconds)"

    step_size: tuple[float, ...] = (0.15,)
    steps: int = 400
    sharpness_every: int = 1  # at every other step its oscillation, of period two, is not seen
    gfs_every: int = 8
    gfs_start: int = 0
    samples: int = 10
    dimension: int = 20
    scale: float = 0.1
    seed: int = 0

    def check(self) -> None:
        """As for every experiment, and the sizes."""
        super().check()
        check_positive("scale", self.scale)
        self.check_at_least("samples", 1)
        self.check_at_least("dimension", 1)
        self.check_at_least("seed", 0)

    def build(self) -> tuple[Any, Any]:
        """Return the problem and the start `{"u": (dimension,), "v": (dimension,)}`."""
        import jax.numpy as jnp
        import numpy as np

        from thalweg.problems import SquaredRegression

        random = np.random.default_rng(self.seed)
        x = random.normal(size=(self.samples, self.dimension))
        y = x @ random.normal(size=self.dimension)
        u = self.scale * random.uniform(0.9, 1.1, self.dimension)
        v = self.scale * random.uniform(0.9, 1.1, self.dimension)
        return SquaredRegression(x, y), {"u": jnp.asarray(u), "v": jnp.asarray(v)}
