"""How a running descent is shown on a terminal: bars, or sparse lines where there is none."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from thalweg.descent import Progress

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}{postfix}]"
_FLOW_BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"


class Bars:
    """Two bars on stderr, with the time left: steps of the run, and the flow in hand.

    Instances are `report` callbacks of `descend`, to be used in a `with` block.
    """

    def __init__(self) -> None:
        self._steps: tqdm[Any] | None = None
        self._flow: tqdm[Any] | None = None
        self._run = -1

    def __call__(self, progress: Progress) -> None:
        """Show where the descent stands."""
        if progress.run != self._run or self._steps is None:
            self._begin(progress)
        if progress.flow is None:
            self._close_flow()
        else:
            self._show_flow(progress)
        assert self._steps is not None
        self._steps.set_postfix_str(f"loss {progress.loss:.2e}", refresh=False)
        self._steps.update(progress.step - self._steps.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_flow()
        if self._steps is not None:
            self._steps.close()

    def _begin(self, progress: Progress) -> None:
        if self._steps is not None:
            self._steps.close()
        # Smoothing 0: the time left follows from the average over the run, since measurements
        # come in bursts.
        self._steps = tqdm(
            total=progress.steps,
            desc=f"step size {progress.step_size:g}, steps",
            bar_format=_BAR,
            smoothing=0,
            file=sys.stderr,
        )
        self._run = progress.run

    def _show_flow(self, progress: Progress) -> None:
        assert progress.flow is not None
        if self._flow is None:
            self._flow = tqdm(
                total=1.0,
                desc=f"  gradient flow from step {progress.step}",
                bar_format=_FLOW_BAR,
                leave=False,
                smoothing=0,
                file=sys.stderr,
            )
        flow = progress.flow
        self._flow.set_postfix_str(
            f"loss {flow.loss:.1e}, {flow.gradient_evaluations:.0f} gradients", refresh=False
        )
        self._flow.update(max(flow.fraction - self._flow.n, 0.0))

    def _close_flow(self) -> None:
        if self._flow is not None:
            self._flow.close()
            self._flow = None


class Lines:
    """A line on stderr at every tenth of a run, for logs."""

    def __init__(self) -> None:
        self._last = (-1, -1)
        self._began = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        """Print a line if another tenth of the steps is done."""
        tenth = (progress.run, 10 * progress.step // max(progress.steps, 1))
        if progress.flow is not None or tenth == self._last:
            return
        if tenth[0] != self._last[0]:
            self._began = time.perf_counter()
        self._last = tenth
        seconds = time.perf_counter() - self._began
        left = seconds * (progress.steps - progress.step) / progress.step if progress.step else None
        print(
            f"thalweg: step size {progress.step_size:g}, step {progress.step} of {progress.steps}, "
            f"loss {progress.loss:.3g}, {seconds:.0f} s"
            + (f", about {left:.0f} s left" if left is not None and left > 0 else ""),
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def display() -> Bars | Lines:
    """Return bars where stderr is a terminal, lines where it is not."""
    return Bars() if sys.stderr.isatty() else Lines()
