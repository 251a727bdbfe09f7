"""Computations side by side: a program that several of them call is run once for all of these.

A lane is a greenlet, which hands over where it calls a compiled program. When every lane waits for
one, the program that most of them wait for is run for them together, under `jax.vmap`. So lanes
share a device and not their fates: each takes its own steps, as many as it needs. Where a batch
takes the time of one call (a GPU that one call cannot fill), many lanes are as fast as one.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

import jax
from greenlet import getcurrent, greenlet

T = TypeVar("T")
Arrays = list[Any]  # the leaves of a program's arguments or of what it returns; `None` for others
LANES_ON_ACCELERATOR = 32


class Program(Protocol):
    """What lanes call: for one, or together for several."""

    def __call__(self, arrays: Arrays) -> Any:
        """Run for one set of arguments."""
        ...

    def together(self, calls: list[Arrays]) -> list[Any]:
        """Run for several, of the same shapes."""
        ...


class _Lane(greenlet):
    """One of the computations; `value` is what it returns in the end."""

    value: Any = None

    def __init__(self, number: int, task: Callable[[], Any]):
        super().__init__(self._keep)
        self.number, self.task = number, task
        self.gr_context = copy_context()  # settings such as `numpy.errstate`

    def _keep(self) -> None:
        self.value = self.task()


def run(program: Program, arrays: Arrays) -> Any:
    """Run a program: at once, or where this is a lane, together with those of others."""
    lane = getcurrent()
    if isinstance(lane, _Lane) and lane.parent is not None:
        return lane.parent.switch((program, arrays))
    return program(arrays)


def side_by_side(tasks: Iterable[Callable[[], T]], lanes: int) -> list[T]:
    """Return what the tasks return, in order, with at most so many of them under way at a time.

    An exception of one ends all.

    Examples
    --------
    >>> side_by_side([lambda: 1, lambda: 2, lambda: 3], lanes=2)
    [1, 2, 3]
    """
    if lanes == 1:
        return [task() for task in tasks]
    values: dict[int, T] = {}
    remaining = deque(enumerate(tasks))
    waiting: dict[_Lane, tuple[Program, Arrays]] = {}
    under_way: set[_Lane] = set()

    def go_on(lane: _Lane, *answer: Any) -> None:
        call = lane.switch(*answer)
        if lane.dead:
            under_way.remove(lane)
            values[lane.number] = lane.value
        else:
            waiting[lane] = call

    try:
        while remaining or under_way:
            while remaining and len(under_way) < lanes:
                under_way.add(lane := _Lane(*remaining.popleft()))
                go_on(lane)
            together = _largest_group(waiting)
            calls = [waiting.pop(lane) for lane in together]
            answers = calls[0][0].together([arrays for _, arrays in calls]) if calls else []
            for lane, answer in zip(together, answers, strict=True):
                go_on(lane, answer)
    finally:
        for lane in under_way:
            lane.throw()  # so that it leaves its contexts
    return [values[number] for number in range(len(values))]


def _largest_group(waiting: dict[_Lane, tuple[Program, Arrays]]) -> list[_Lane]:
    groups: dict[Any, list[_Lane]] = defaultdict(list)
    for lane, (program, arrays) in waiting.items():
        kinds = tuple((a.shape, a.dtype) if a is not None else None for a in arrays)
        groups[program, kinds].append(lane)
    return max(groups.values(), key=len, default=[])


def lanes_of_device() -> int:
    """Return how many lanes pay where computations run by default: on CPUs, one.

    Measured on two cores: a batch takes as long as its calls one after the other, but for the
    smallest problems, where the time goes elsewhere.
    """
    return 1 if jax.default_backend() == "cpu" else LANES_ON_ACCELERATOR
