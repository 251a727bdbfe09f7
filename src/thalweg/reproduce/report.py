"""The report of a reproduction: one page for a browser, and the same as Markdown."""

import base64
import html
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thalweg.reproduce.claims import JUST_UNDER, LEVEL, SETTLED, SHARE, Claim, Verdict
from thalweg.runs.versions import versions

PAPER = (
    "I. Kreisler, M. Shpigel Nacson, D. Soudry, Y. Carmon: Gradient Descent Monotonically "
    "Decreases the Sharpness of Gradient Flow Solutions in Scalar Networks and Beyond, ICML 2023, "
    "arXiv 2305.13064"
)
INTRODUCTION = (
    "Gradient descent (GD) with step size η is stable where the sharpness, the largest eigenvalue "
    "of the Hessian, is below 2/η. The GFS sharpness φ of an iterate is the sharpness where "
    "gradient flow, training with infinitely small steps, would end from there. The claims below "
    "are those of the paper cited at the end, in this program's words. Each is judged by what was "
    "measured: “shown” if the numbers bear it out beyond their error bars, “failed” if they "
    "contradict it beyond their error bars, “undecided” if they leave it open. Once GD has "
    f"converged, φ is constant: rises below {LEVEL:g} of it are not held against the first claim. "
    f"GD has settled where φ and the sharpness agree to {SETTLED:g} of φ, and to {SHARE:g} of the "
    f"distance of φ from 2/η; “just under” is above {JUST_UNDER:g} of 2/η."
)


@dataclass(frozen=True)
class RunResult:
    """One run of a case: its entry in `summary.json`, and its claims."""

    summary: dict[str, Any]
    claims: list[Claim]


@dataclass(frozen=True)
class CaseResult:
    """A case that has finished: what was run, what came of it, and how to make it again.

    Attributes
    ----------
    title, description
        For the reader.
    command
        The command line that makes it again.
    folder
        Its run folder, relative to the report.
    figure
        The bytes of its figure, a PNG.
    runs
        One for each step size.
    seconds, gradient_evaluations
        What it cost.
    """

    title: str
    description: str
    command: str
    folder: str
    figure: bytes
    runs: list[RunResult]
    seconds: float
    gradient_evaluations: float


def markdown(heading: str, cases: list[CaseResult]) -> str:
    """Return the report as Markdown; the figures are those of the run folders beside it."""
    lines = [f"# {heading}", "", INTRODUCTION, "", "## Verdicts", ""]
    lines += _markdown_table(*_verdicts(cases))
    for case in cases:
        lines += ["", f"## {case.title}", "", case.description, ""]
        lines += [f"![{case.title}]({case.folder}/figure.png)", ""]
        lines += _markdown_table(_RUNS_HEAD, _runs_rows(case))
        lines += ["", *_markdown_table(_CLAIMS_HEAD, _claims_rows(case))]
        lines += ["", *(f"- {remark}" for remark in _remarks(case))]
        lines += ["", _cost(case), "", "```sh", case.command, "```"]
    lines += ["", "## Cost", "", *_markdown_table(_COST_HEAD, _cost_rows(cases))]
    lines += ["", "## Made with", "", _made_with(), "", f"The paper: {PAPER}.", ""]
    return "\n".join(lines)


def page(heading: str, cases: list[CaseResult]) -> str:
    """Return the report as one HTML page, complete in itself: the figures are inside."""
    body = [f"<h1>{_e(heading)}</h1>", f"<p>{_e(INTRODUCTION)}</p>", f"<p>{_tally(cases)}</p>"]
    body += ["<h2>Verdicts</h2>", _html_table(*_verdicts(cases))]
    for case in cases:
        image = base64.b64encode(case.figure).decode("ascii")
        body += [
            f"<h2>{_e(case.title)}</h2>",
            f"<p>{_e(case.description)}</p>",
            f'<img alt="{_e(case.title)}" src="data:image/png;base64,{image}">',
            _html_table(_RUNS_HEAD, _runs_rows(case)),
            _html_table(_CLAIMS_HEAD, _claims_rows(case)),
            "<ul>" + "".join(f"<li>{_e(remark)}</li>" for remark in _remarks(case)) + "</ul>",
            f"<p>{_e(_cost(case))}</p>",
            f"<pre>{_e(case.command)}</pre>",
        ]
    body += ["<h2>Cost</h2>", _html_table(_COST_HEAD, _cost_rows(cases))]
    body += [f"<h2>Made with</h2><p>{_e(_made_with())}</p><p>The paper: {_e(PAPER)}.</p>"]
    return _PAGE.format(heading=_e(heading), style=_STYLE, body="\n".join(body))


_CLAIMS_HEAD = ("step size", "claim", "verdict", "evidence")
_RUNS_HEAD = ("step size", "2/η", "steps", "status", "loss", "sharpness", "φ", "φ · η/2")
_COST_HEAD = ("experiment", "seconds", "gradient evaluations")


def _verdicts(
    cases: list[CaseResult],
) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """Return a table of all verdicts: a row for each run, a column for each claim."""
    runs = [(case.title, run) for case in cases for run in case.runs]
    statements = list(dict.fromkeys(claim.statement for _, run in runs for claim in run.claims))

    def rows() -> Iterator[tuple[str, ...]]:
        for title, run in runs:
            verdicts = {claim.statement: claim.verdict.value for claim in run.claims}
            cells = (verdicts.get(statement, "") for statement in statements)
            yield title, _step_size(run), *cells

    return ("experiment", "step size", *statements), rows()


def _claims_rows(case: CaseResult) -> Iterator[tuple[str, ...]]:
    for run in case.runs:
        for claim in run.claims:
            yield _step_size(run), claim.statement, claim.verdict.value, claim.evidence


def _runs_rows(case: CaseResult) -> Iterator[tuple[str, ...]]:
    for run in case.runs:
        summary, final = run.summary, run.summary["final"]
        value, error, threshold = (
            final["gfs_sharpness"],
            final["gfs_sharpness_error"],
            summary["threshold"],
        )
        known = value is not None and error is not None
        yield (
            _step_size(run),
            _number(threshold, ".5g"),
            f"{summary['steps']:,}",
            summary["status"],
            _number(final["loss"], ".3g"),
            _number(final["sharpness"], ".6g"),
            f"{value:.6g} ± {error:.1g}" if known else "unknown",
            f"{value / threshold:.5f}" if known and threshold else "unknown",
        )


def _remarks(case: CaseResult) -> list[str]:
    """Return what went wrong in the runs of a case: nothing, mostly."""
    return [
        f"Step size {_step_size(run)}: {advice}"
        for run in case.runs
        for advice in run.summary["advice"]
    ]


def _cost_rows(cases: list[CaseResult]) -> Iterator[tuple[str, ...]]:
    for case in cases:
        yield case.title, f"{case.seconds:.1f}", f"{case.gradient_evaluations:,.0f}"
    total = sum(case.seconds for case in cases)
    work = sum(case.gradient_evaluations for case in cases)
    yield "all", f"{total:.1f}", f"{work:,.0f}"


def _cost(case: CaseResult) -> str:
    return (
        f"{case.seconds:.1f} seconds, {case.gradient_evaluations:,.0f} gradient evaluations. "
        "This command makes it again:"
    )


def _tally(cases: list[CaseResult]) -> str:
    verdicts = [c.verdict for case in cases for run in case.runs for c in run.claims]
    counted = (f"{_badge(v.value)} {verdicts.count(v)}" for v in Verdict)
    return f"{len(verdicts)} claims judged: " + ", ".join(counted) + "."


def _made_with() -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{known}; {platform.machine()}, {platform.system()}."


def _step_size(run: RunResult) -> str:
    return f"{run.summary['step_size']:.5g}"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _markdown_table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _html_table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    lines = ["<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(text: str) -> str:
    return _badge(text) if text in set(Verdict) else _e(text)


def _badge(verdict: str) -> str:
    return f'<span class="{verdict}">{verdict}</span>'


def _e(text: str) -> str:
    return html.escape(text)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 1.2rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.6rem;
  border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #999; }
td:first-child { white-space: nowrap; }
img { max-width: min(100%, 46rem); display: block; margin: 1rem auto; }
pre { background: #f4f4f4; padding: 0.6rem; overflow-x: auto; white-space: pre-wrap; }
.shown, .failed, .undecided { border-radius: 0.3rem; padding: 0.05rem 0.45rem; font-weight: 600;
  white-space: nowrap; }
.shown { background: #d8efdd; color: #0d5524; }
.failed { background: #fadcd9; color: #8c1409; }
.undecided { background: #fff0c9; color: #6b4c00; }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{heading}</title>
<style>{style}</style></head>
<body>
{body}
</body></html>
"""
