"""Experiments with a random start: runs for seeds and step sizes, all pairs of them or some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, Self

from thalweg.basics.checks import Natural
from thalweg.runs.experiment import DescentExperiment, part_of

Plan = list[tuple[int, tuple[float, ...]]]
"""Seeds in order, each with the step sizes of its runs, relative ones or numbers."""


@dataclass(frozen=True, kw_only=True)
class SeededExperiment(DescentExperiment):
    """A descent whose start is random. With several seeds the runs of each are as with it alone.

    Attributes
    ----------
    seed
        Seed of the random start (an integer of at least 0). Several are several starts: each with
        every step size.
    paired
        Pair seeds and step sizes one by one: a run for each pair.
    """

    data_are_seeded: ClassVar[bool] = False
    """Whether the seed is one of the data, too: each start has a problem of its own then."""

    seed: Natural | tuple[Natural, ...] = 0
    paired: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    @property
    def one_seed(self) -> int:
        """The seed where there is one, as `build` needs it."""
        if len(self.seeds) > 1:
            raise ValueError("a start has one seed: replace(config, seed=...), or use starts()")
        return self.seeds[0]

    def plan(self) -> Plan:
        """Return the runs."""
        sizes = self.step_size or self.relative_step_size
        if not self.paired:
            return [(seed, sizes) for seed in self.seeds]
        pairs = groupby(zip(self.seeds, sizes, strict=True), itemgetter(0))
        return [(seed, tuple(size for _, size in runs)) for seed, runs in pairs]

    def check(self) -> None:
        """As for every descent, and that no run is there twice."""
        if not self.seeds:
            raise ValueError("seed is empty: give at least one integer of at least 0")
        if self.paired:
            sizes = self.step_size or self.relative_step_size
            if len(sizes) != len(self.seeds):
                raise ValueError(
                    f"paired needs as many step sizes as seeds, got {len(sizes)} and "
                    f"{len(self.seeds)}: give one for each, or leave paired out"
                )
        given = [(seed, *own) for seed, own in self.plan()]
        if len({seed for seed, *_ in given}) < len(given):
            raise ValueError("a seed is given twice: give each once (paired: one after the other)")
        super().check()

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.seeds) * (1 if self.paired else super().runs)

    def alone(self, seed: int, sizes: Sequence[float] = ()) -> Self:
        """Return this with one seed, and with step sizes of its own (relative, if these are)."""
        return self._with_sizes(sizes, seed=seed, paired=False)

    def starts(self) -> tuple[Any, Any]:
        """Return the problem and the start of a seed, or those of several."""
        if not isinstance(self.seed, tuple):
            return self.build()
        from thalweg.descent import Starts

        seeds = [seed for seed, _ in self.plan()]
        problems, ws = zip(*(self.alone(seed).build() for seed in seeds), strict=True)
        return list(problems) if self.data_are_seeded else problems[0], Starts(ws, seeds)

    def step_sizes(self) -> Any:
        """Return the step sizes of each start, as `descend` takes them."""
        is_one = not isinstance(self.seed, tuple)
        return self.step_size if is_one else [own for _, own in self.plan()]

    def settled(self, problem: Any, start: Any, announce: Callable[[str], None]) -> Self:
        """Return this with step sizes as numbers: those of each seed are chosen by its start."""
        if not isinstance(self.seed, tuple) or self.step_size:
            return self.resolved(problem, start, announce)
        from thalweg.descent.starts import each_start

        pairs = []
        for (one, w), (seed, own) in zip(each_start(problem, start), self.plan(), strict=True):
            found = self.alone(seed, own).resolved(one, w, announce).step_size
            pairs += [(seed, size) for size in found]
        seeds, sizes = zip(*pairs, strict=True)
        return replace(self, seed=seeds, step_size=sizes, relative_step_size=(), paired=True)

    def part(self, index: int, of: int) -> Self:
        """Return every `of`-th of the runs; of the seeds, where step sizes are left open."""
        pairs = [(seed, size) for seed, own in self.plan() for size in own]
        if not pairs:
            return replace(self, seed=part_of(self.seeds, index, of))
        seeds, sizes = zip(*part_of(pairs, index, of), strict=True)
        paired = len(set(seeds)) > 1
        return self._with_sizes(sizes, seed=seeds if paired else seeds[:1], paired=paired)

    def _with_sizes(self, sizes: Sequence[float], **changes: Any) -> Self:
        """Return this with other step sizes, of the kind that these are, and other changes."""
        if self.step_size:
            return replace(self, step_size=tuple(sizes), **changes)
        return replace(self, relative_step_size=tuple(sizes), **changes)
