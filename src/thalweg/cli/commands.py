"""The command line: dataclasses -> options, by tyro; one line for every mistake.

JAX is imported only by the commands that compute.
"""

import contextlib
import dataclasses
import functools
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from thalweg.basics.activity import doing
from thalweg.basics.memory import is_exhausted
from thalweg.basics.versions import __version__
from thalweg.cli.devices import ask_for, check_flags, no_device
from thalweg.cli.exit_codes import BAD_INPUT, INTERRUPTED, NOT_DONE, OUT_OF_BUDGET
from thalweg.cli.explore import explore
from thalweg.cli.mistakes import (
    BadInputError,
    NotDoneError,
    caller_errors,
    parse,
    reason,
    remedy,
)
from thalweg.cli.output import RunOutput
from thalweg.cli.plot import plot
from thalweg.cli.reproduce import reproduce
from thalweg.cli.table import table
from thalweg.display import Display, Lenient, display_of, lenient_streams
from thalweg.display import table as end_of_run
from thalweg.experiments import EXPERIMENTS, Experiment, Study
from thalweg.runs.budget import Budget
from thalweg.runs.claim import RunClaim
from thalweg.runs.figure_options import FigureOptions
from thalweg.runs.folder import RunFolder
from thalweg.runs.interruption import Interruption, one_interrupt
from thalweg.runs.jobs import Jobs
from thalweg.runs.stored import experiment_of, is_run_of, stored

_HELP = """\
usage: thalweg COMMAND ...

Gradient descent, and the sharpness of the gradient flow solutions along it.

commands:
  run EXPERIMENT --out DIR   run an experiment and write config.json, result.nc, summary.json and
                             figure.png to DIR; `thalweg run EXPERIMENT --help` lists its options
  run EXPERIMENT --out DIR --resume
                             the same, or go on with that very run if it was begun: for job scripts
  resume DIR                 continue a run that was stopped, killed or is out of its budget, from
                             its last checkpoint; the numbers are those of an uninterrupted run
  plot DIR                   draw DIR/figure.png from the stored results, also while the run goes on
  plot DIR DIR --out FIGURE  draw runs side by side
  table DIR DIR              list runs: a row for each; --csv
  reproduce --out DIR        run the paper's three settings and judge its claims in a report;
                             --quick takes at most 3 minutes on two cores, --full is for a GPU
  explore                    move a step size, drag a start, and see what happens, in a browser
  list                       list the experiments
  --version                  tell the version

exit codes: 0 done; 1 could not be done; 2 bad input; 128 + n stopped by signal n;
            75 stopped by a budget (--max-time, --max-evaluations): resume it

experiments:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 is success; 1: results could not be written, or memory was exhausted; 2: bad input (one line
    on stderr, nothing written); 75: stopped by a budget, to be resumed; 128 and the number of the
    signal: stopped by it (130 by Ctrl-C, 143 by SIGTERM; what there is was written).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with lenient_streams(), one_interrupt():
        try:
            return _dispatch(arguments)
        except BadInputError as error:
            return _failed(error, BAD_INPUT)
        except NotDoneError as error:
            return _failed(error, NOT_DONE)
        except KeyboardInterrupt as interrupt:
            print(f"thalweg: interrupted{''.join(interrupt.args)}", file=sys.stderr)
            return INTERRUPTED
        except (MemoryError, RuntimeError) as error:
            if not is_exhausted(error):
                raise
            return _failed("there is not enough memory for this: choose smaller numbers", NOT_DONE)


def _failed(message: Any, code: int) -> int:
    print(f"thalweg: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _dispatch(arguments: list[str]) -> int:
    command, *rest = arguments or ["--help"]
    wants_help = bool({"-h", "--help"} & set(rest[:1]))
    if command in ("-h", "--help") or (command in ("run", "list") and wants_help):
        return _print(_HELP + _listing())
    if command == "--version":
        return _print(f"thalweg {__version__}")
    if command not in _COMMANDS:
        raise BadInputError(f"unknown command {command!r}; known: {', '.join(_COMMANDS)}")
    return _COMMANDS[command](rest)


def _print(text: str) -> int:
    """Print what was asked for; that nobody wants to read all of it is no failure."""
    print(text, flush=True)
    stream: Any = sys.stdout
    if isinstance(stream, Lenient) and stream.has_lost_text:
        why = getattr(stream.failure, "strerror", stream.failure)
        raise NotDoneError(f"it could not be printed: {why}")
    return 0


def _list(arguments: list[str]) -> int:
    if arguments:
        raise BadInputError(f"`thalweg list` takes no options, got {arguments[0]!r}: leave it out")
    return _print(_listing())


def _listing() -> str:
    return "\n".join(f"  {name:<20} {kind.summary}" for name, kind in EXPERIMENTS.items())


@functools.cache
def _options(kind: type[Experiment]) -> Any:
    """Return what `thalweg run` takes for an experiment of this kind, as one dataclass."""
    parts: list[tuple[str, Any]] = [
        ("output", RunOutput),
        ("experiment", kind),
        ("figure", FigureOptions),
    ]
    if not issubclass(kind, Study):  # which is computed in one go
        parts.insert(1, ("jobs", Jobs))
        parts.insert(2, ("budget", Budget))
    return dataclasses.make_dataclass("Options", parts, frozen=True, kw_only=True)


def _run(arguments: list[str]) -> int:
    known = ", ".join(EXPERIMENTS)
    if not arguments or arguments[0].startswith("-"):
        raise BadInputError(f"name an experiment right after `run`; known: {known}")
    if arguments[0] not in EXPERIMENTS:
        raise BadInputError(f"unknown experiment {arguments[0]!r}; known: {known}")
    kind = EXPERIMENTS[arguments[0]]
    description = (kind.__doc__ or "").partition("\n")[0]
    parsed = parse(_options(kind), arguments[1:], f"thalweg run {kind.name}", description)
    budget, jobs = getattr(parsed, "budget", Budget()), getattr(parsed, "jobs", Jobs())
    return _run_experiment(parsed.experiment, parsed.output, jobs, budget, parsed.figure)


def _run_experiment(
    config: Experiment, output: RunOutput, jobs: Jobs, budget: Budget, figure: FigureOptions
) -> int:
    with caller_errors():  # before the seconds that importing JAX takes
        config.check()
        config = jobs.part_of(config)
        output.check()
        budget.check()
        figure.check()
        if output.resume and is_run_of(config, output.out, EXPERIMENTS):
            going_on = _ResumeOptions(folder=output.out, budget=budget, figure=figure)
            return _go_on(going_on, config)
        claim = RunClaim.of_new_run(stored(config), output.out, overwrite=output.overwrite)
    try:
        with claim.guarding(), display_of(output.out) as show:
            _start_jax(config)
            from thalweg.runs.runner import prepare_claimed

            return _execute(lambda: prepare_claimed(claim, config, show.say), budget, figure, show)
    except KeyboardInterrupt:
        again = f"; {_resuming(output.out)} begins again" if claim.has_written else ""
        raise KeyboardInterrupt(again) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ResumeOptions:
    """Continue a run from its last checkpoint.

    Attributes
    ----------
    folder
        Folder of the run.
    force
        Continue also under another configuration, other versions or on another machine: numbers may
        then differ from those of an uninterrupted run.
    """

    folder: tyro.conf.Positional[Path]
    force: bool = False
    budget: Budget = dataclasses.field(default_factory=Budget)
    figure: FigureOptions = dataclasses.field(default_factory=FigureOptions)


def _resume(arguments: list[str]) -> int:
    options = parse(_ResumeOptions, arguments, "thalweg resume", None)
    with caller_errors():
        options.budget.check()
        options.figure.check()
        opened = RunFolder.open(options.folder)
        content = opened.read_config()
        is_own = "measurements" in content and opened.summary.is_file()  # and so has finished
        config = None if is_own else experiment_of(content, EXPERIMENTS)
    return _go_on(options, config)


def _go_on(options: _ResumeOptions, config: Experiment | None) -> int:
    with display_of(options.folder) as show:
        _start_jax(config)
        return _continue(options, show)


def _continue(options: _ResumeOptions, show: Display) -> int:
    from thalweg.runs.runner import has_finished, prepare_to_resume, tidy

    folder = options.folder
    with caller_errors(), doing("reading the folder"):
        finished = has_finished(folder)
    if finished:
        tidy(folder)
        show.say(f"The run in {folder} has finished: there is nothing to continue", sys.stdout)
        return 0

    def prepare() -> Any:
        return prepare_to_resume(folder, EXPERIMENTS, force=options.force, announce=show.say)

    return _execute(prepare, options.budget, options.figure, show)


def _execute(
    prepare: Callable[[], Any], budget: Budget, figure: FigureOptions, show: Display
) -> int:
    """Run what `prepare` makes ready, and tell how it ended."""
    from thalweg.descent import CheckpointError, Interrupted

    with caller_errors():
        prepared = prepare()
    config, folder, interruption = prepared.config, prepared.claim.folder.path, Interruption()
    again = _resuming(folder)
    try:
        # A study saves nothing on its way, so that Ctrl-C ends it at once.
        noting = contextlib.nullcontext() if isinstance(config, Study) else interruption
        with noting:

            def report(progress: Any) -> bool:
                show(progress)
                return interruption.signal is not None

            summary = prepared.run(report, budget, show.warn, figure)
    except Interrupted:  # what there is was written, as after a signal that was noted
        summary = prepared.claim.folder.read_summary() or {"runs": []}
        interruption.signal = signal.SIGINT
    except CheckpointError as error:
        raise BadInputError(str(error)) from error
    except OSError as error:
        raise NotDoneError(
            f"writing to {folder} failed ({reason(error)}): {remedy(error)}, then "
            f"{again} continues from the last checkpoint"
        ) from error
    told = config.report(summary) if isinstance(config, Study) else end_of_run(summary)
    show.say(f"{told}\nResults, summary and figure are in {folder}", sys.stdout)
    if not any(run["status"] == "stopped" for run in summary["runs"]):
        return 0
    show.say(f"stopped before the end; {again} continues")
    return interruption.exit_code or (INTERRUPTED if budget == Budget() else OUT_OF_BUDGET)


def _resuming(folder: Path) -> str:
    return f"`thalweg resume {shlex.quote(str(folder))}`"


def _start_jax(config: Experiment | None = None) -> None:
    """Switch float64 on, and find the devices: all later errors of JAX are others."""
    check_flags()
    ask_for(getattr(config, "devices", 1))
    try:
        with doing("importing JAX"):
            import jax

            jax.config.update("jax_enable_x64", True)
            jax.devices()
            import thalweg.runs.runner  # noqa: F401 - which takes as long
    except ValueError as error:
        raise BadInputError(f"JAX cannot be started: {error}") from error
    # A platform that does not exist or has no device here; the second one is all that some say.
    except (RuntimeError, AssertionError) as error:
        raise no_device(error) from error


def _plot(arguments: list[str]) -> int:
    return plot(arguments, _print)


def _table(arguments: list[str]) -> int:
    return table(arguments, _print)


def _reproduce(arguments: list[str]) -> int:
    return reproduce(arguments, _start_jax)


def _explore(arguments: list[str]) -> int:
    return explore(arguments, _start_jax, Display(drawn=False).say)


_COMMANDS = {
    "run": _run,
    "resume": _resume,
    "plot": _plot,
    "table": _table,
    "reproduce": _reproduce,
    "explore": _explore,
    "list": _list,
}
