"""The command line: dataclasses -> options, by tyro; one line for every mistake.

JAX is imported only by the commands that compute.
"""

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tyro

from thalweg.experiments import EXPERIMENTS, Experiment, Study

_HELP = """\
usage: thalweg COMMAND ...

Gradient descent, and the sharpness of the gradient flow solutions along it.

commands:
  run EXPERIMENT --out DIR   run an experiment and write config.json, result.nc, summary.json and
                             figure.png to DIR; `thalweg run EXPERIMENT --help` lists its options
  plot DIR                   draw DIR/figure.png again from the stored results
  reproduce --out DIR        run the paper's three settings and judge its claims in a report;
                             --quick takes about 3 minutes on two cores, --full far longer
  list                       list the experiments

experiments:
"""

BAD_INPUT, INTERRUPTED = 2, 130


class _BadInputError(Exception):
    """A mistake of the caller; its text is the one line to print."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Output:
    """Where results go.

    Attributes
    ----------
    out
        Folder for the results; made if it does not exist.
    overwrite
        Replace the run that the folder already holds.
    """

    out: Path
    overwrite: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 is success, 2 bad input (one line on stderr, nothing written), 130 an interrupted run (what
    there is was written).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _dispatch(arguments)
    except _BadInputError as error:
        message = " ".join(str(error).split())
        print(f"thalweg: error: {message}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("thalweg: interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    wants_help = bool({"-h", "--help"} & set(rest[:1]))
    if command in ("-h", "--help") or (command in ("run", "list") and wants_help):
        print(_HELP + _listing())
        return 0
    match command:
        case "run":
            return _run(rest)
        case "plot":
            return _plot(rest)
        case "reproduce":
            return _reproduce(rest)
        case "list":
            if rest:
                raise _BadInputError(
                    f"`thalweg list` takes no options, got {rest[0]!r}: leave it out"
                )
            print(_listing())
            return 0
    raise _BadInputError(f"unknown command {command!r}; known: run, plot, reproduce, list")


def _listing() -> str:
    return "\n".join(f"  {name:<20} {kind.summary}" for name, kind in EXPERIMENTS.items())


def _run(arguments: list[str]) -> int:
    known = ", ".join(EXPERIMENTS)
    if not arguments or arguments[0].startswith("-"):
        raise _BadInputError(f"name an experiment right after `run`; known: {known}")
    if arguments[0] not in EXPERIMENTS:
        raise _BadInputError(f"unknown experiment {arguments[0]!r}; known: {known}")
    kind = EXPERIMENTS[arguments[0]]
    options = dataclasses.make_dataclass(
        "Options", [("output", _Output), ("experiment", kind)], frozen=True, kw_only=True
    )
    description = (kind.__doc__ or "").partition("\n")[0]
    parsed = _parse(options, arguments[1:], f"thalweg run {kind.name}", description)
    return _run_experiment(parsed.experiment, parsed.output)


def _run_experiment(config: Experiment, output: _Output) -> int:
    with _mistakes_of_the_caller():
        config.check()  # before the seconds that importing JAX takes

    import jax

    from thalweg.experiments.runner import prepare
    from thalweg.progress import display

    jax.config.update("jax_enable_x64", True)
    with _mistakes_of_the_caller():
        prepared = prepare(config, output.out, overwrite=output.overwrite)
    with display() as report:
        summary = prepared.run(report)
    print(config.report(summary) if isinstance(config, Study) else _table(summary))
    print(f"Results, summary and figure are in {output.out}")
    return INTERRUPTED if any(r["status"] == "stopped" for r in summary["runs"]) else 0


@dataclasses.dataclass(frozen=True)
class _PlotOptions:
    """Draw the figure of a run again, from its stored results.

    Attributes
    ----------
    folder
        Folder of the run.
    """

    folder: tyro.conf.Positional[Path]


def _plot(arguments: list[str]) -> int:
    options = _parse(_PlotOptions, arguments, "thalweg plot", None)
    from thalweg.figures import save_run_figure

    with _mistakes_of_the_caller():
        save_run_figure(options.folder)
    print(f"The figure is in {options.folder}")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ReproduceOptions(_Output):
    """Run the paper's three settings and judge its claims: report.html and report.md.

    Attributes
    ----------
    quick
        Small experiments: about 3 minutes on two cores.
    full
        Large experiments, convolutional networks and the transformer among them.
    """

    quick: bool = False
    full: bool = False


def _reproduce(arguments: list[str]) -> int:
    options = _parse(_ReproduceOptions, arguments, "thalweg reproduce", None)
    if options.quick and options.full:
        raise _BadInputError("--quick and --full contradict each other: choose one")

    import jax

    from thalweg.experiments.chapters import Size
    from thalweg.experiments.reproduction import HTML, estimated_seconds, reproduce
    from thalweg.progress import display

    jax.config.update("jax_enable_x64", True)
    size = Size.QUICK if options.quick else Size.FULL if options.full else Size.DEFAULT
    print(f"This will take about {estimated_seconds(size) / 60:.0f} minutes.", flush=True)
    with _mistakes_of_the_caller(), display() as report:
        done = reproduce(
            options.out, size, overwrite=options.overwrite, report=report, announce=print
        )
    print(f"The report is {options.out / HTML}")
    stopped = any(run.summary["status"] == "stopped" for study in done for run in study.runs)
    return INTERRUPTED if stopped else 0


@contextlib.contextmanager
def _mistakes_of_the_caller() -> Iterator[None]:
    """Turn what bad input raises into one line; errors elsewhere are ours, with a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise _BadInputError(str(error)) from error


def _parse(kind: Any, arguments: list[str], prog: str, description: str | None) -> Any:
    """Return `kind` made of the arguments; tyro's boxed errors become one line."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                kind,
                args=arguments,
                prog=prog,
                description=description,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as exit_:
        if not exit_.code:
            raise
        _refuse(boxed.getvalue(), prog)


def _refuse(boxed: str, prog: str) -> NoReturn:
    """Raise the message in tyro's error box as one line.

    tyro prints paragraphs apart by rules, the title first, in a box or (where the terminal's
    encoding has no box) without.
    """
    paragraphs: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", boxed).splitlines():
        text = line.strip("│╭╮╰╯ ")
        if line.startswith("╭"):
            paragraphs += [[text.strip("─ ")], []]
        elif set(text) <= set("─-"):
            paragraphs.append([])
        else:
            paragraphs[-1].append(text)
    messages = [" ".join(lines) for lines in paragraphs if lines]
    raise _BadInputError(f"{messages[min(1, len(messages) - 1)]} (see `{prog} --help`)")


def _table(summary: dict[str, Any]) -> str:
    """Return the few lines that are printed at the end."""
    head = ("step size", "2/η", "steps", "status", "loss", "sharpness", "GFS sharpness", "verdict")
    rows = [head, *(_row(run) for run in summary["runs"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    advice = [
        f"step size {run['step_size']:g}: {a}" for run in summary["runs"] for a in run["advice"]
    ]
    work = (
        f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,.0f} gradient evaluations"
    )
    return "\n".join(line.rstrip() for line in (*lines, *advice, work))


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    final, steps = run["final"], run["monotonicity"]
    return (
        f"{run['step_size']:g}",
        _number(run["threshold"], ".5g"),
        str(run["steps"]),
        run["status"],
        _number(final["loss"], ".3g"),
        _number(final["sharpness"], ".5g"),
        f"{_number(final['gfs_sharpness'], '.6g')} ± "
        f"{_number(final['gfs_sharpness_error'], '.1g')}",
        f"{steps['verdict']} ({steps['falls']} falls, {steps['rises']} rises, "
        f"{steps['undecided']} undecided)",
    )


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
