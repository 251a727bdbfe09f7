"""The report of a reproduction: one page for a browser, and the same as Markdown.

What they say stands in `templates/`.
"""

import base64
import platform
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from thalweg.basics.versions import versions
from thalweg.reproduce import claims as bars
from thalweg.reproduce.claims import Claim, Verdict
from thalweg.runs.wording import describe_number

HTML, MARKDOWN, OVERVIEW = "report.html", "report.md", "overview.png"
PAPER = (
    "I. Kreisler, M. Shpigel Nacson, D. Soudry, Y. Carmon: Gradient Descent Monotonically "
    "Decreases the Sharpness of Gradient Flow Solutions in Scalar Networks and Beyond, ICML 2023, "
    "arXiv 2305.13064"
)
PAPER_URL = "https://arxiv.org/abs/2305.13064"
_COLUMNS = ("step size", "2/η", "steps", "status", "loss", "sharpness", "φ", "φ · η/2")


@dataclass(frozen=True)
class RunResult:
    """One run of a case: its entry in `summary.json`, and its claims."""

    summary: dict[str, Any]
    claims: list[Claim]

    @property
    def step_size(self) -> str:
        """The step size, as it is printed."""
        return f"{self.summary['step_size']:.5g}"

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row in a table of runs, under `_COLUMNS`."""
        final, threshold = self.summary["final"], self.summary["threshold"]
        value, error = final["gfs_sharpness"], final["gfs_sharpness_error"]
        known = value is not None and error is not None
        return (
            self.step_size,
            describe_number(threshold, ".5g"),
            f"{self.summary['steps']:,}",
            self.summary["status"],
            describe_number(final["loss"], ".3g"),
            describe_number(final["sharpness"], ".6g"),
            f"{value:.6g} ± {error:.1g}" if known else "unknown",
            f"{value / threshold:.5f}" if known and threshold else "unknown",
        )

    def verdicts(self, statements: list[str]) -> list[str]:
        """Return the verdict on each statement, empty where it is not one of the claims."""
        verdicts = {claim.statement: claim.verdict.value for claim in self.claims}
        return [verdicts.get(statement, "") for statement in statements]


@dataclass(frozen=True)
class CaseResult:
    """A case that has finished: what was run, what came of it, and how to make it again."""

    title: str
    description: str
    command: str
    folder: str  # relative to the report
    figure: bytes  # an SVG
    runs: list[RunResult]  # one for each step size
    seconds: float
    gradient_evaluations: float


def filled(name: str, heading: str, cases: list[CaseResult], overview: bytes) -> str:
    """Return the report `HTML`, its figures inside, or `MARKDOWN`, with those of the folders.

    `overview` is an SVG; beside the `MARKDOWN` it is expected as `OVERVIEW`.
    """
    templates = Environment(
        loader=PackageLoader("thalweg.reproduce"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    claims = [claim for case in cases for run in case.runs for claim in run.claims]
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    return templates.get_template(name).render(
        heading=heading,
        cases=cases,
        columns=_COLUMNS,
        statements=list(dict.fromkeys(claim.statement for claim in claims)),
        tally={v.value: [claim.verdict for claim in claims].count(v) for v in Verdict},
        total={
            "title": "all",
            "seconds": sum(case.seconds for case in cases),
            "gradient_evaluations": sum(case.gradient_evaluations for case in cases),
        },
        made_with=f"{known}; {platform.machine()}, {platform.system()}",
        paper=PAPER,
        paper_url=PAPER_URL,
        overview=overview,
        overview_name=OVERVIEW,
        bars=bars,
    )
