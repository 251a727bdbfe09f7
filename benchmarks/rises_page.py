"""The table and the figure of `docs/rises.md`, from `rises.json`."""

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from report_figures import COLOURS, MARKERS, STYLE

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FIGURE = DOCS / "rises.md", DOCS / "assets" / "rises.png"
BEGIN, END = "<!-- {}, by benchmarks/rises.py -->\n", "<!-- end of {} -->"
NAMES = {
    "scalar": "scalar networks",
    "regression": "diagonal networks",
    "network": "tanh network, 20 digits",
    "main": "the main job",
}


def write(found):
    """Write the tables into the page, and the figure beside it."""
    runs = [row for part in NAMES for row in found.get(part, [])]
    text = PAGE.read_text(encoding="utf-8")
    tables = {"runs": runs_table(runs), "census": census_table(found["census"])}
    for name, lines in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = text.split(begin)
        text = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1]
    PAGE.write_text(text, encoding="utf-8")
    figure(found).savefig(FIGURE)
    print(Counter((row["part"], bool(row["rises"] or row["largest"])) for row in runs))


def runs_table(runs):
    yield (
        "| run | step size | sharpness, φ at the start, of 2/η | falls / rises / undecided "
        "| largest rise | between steps | sharpness there, of 2/η | loss there, of the start's |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    label = None
    for row in runs:
        name, label = row["label"] if row["label"] != label else "", row["label"]
        rise, there = row["largest"], biggest(row)
        size = "none" if rise is None else number(rise["relative"])
        between = "" if rise is None else "{} to {}".format(*rise["between"])
        lost = ", diverges" if row["status"] == "diverged" else ""
        yield (
            f"| {name} | {row['step_size']:.4g}{lost} | {row['start'][0]:.2f}, "
            f"{row['start'][1]:.2f} | {row['falls']} / {row['rises']} / {row['undecided']} "
            f"| {size} | {between} | {there[0]} | {there[1]} |"
        )


def biggest(row):
    """Return sharpness and loss at the largest rise from one measured value to the next."""
    if not row["where"]:
        return "", ""
    one = max(row["where"], key=lambda one: one["relative"])
    return f"{one['sharpness']:.2f}", f"{one['loss']:.2g}"


def number(relative):
    """Return a relative change in words that can be read."""
    if relative >= 1:
        return f"× {1 + relative:.3g}"
    return f"{100 * relative:.2g} %" if relative >= 1e-4 else f"{relative:.1e}"


def census_table(rows):
    multiples = list(dict.fromkeys(row["multiple"] for row in rows))
    yield "| start, sharpness of 2/η | " + " | ".join(f"{one:g}" for one in multiples) + " |"
    yield "|---" * (1 + len(multiples)) + "|"
    for depth in dict.fromkeys(row["depth"] for row in rows):
        cells = [
            f"{row['runs_that_rise']} of {row['runs']}" for row in rows if row["depth"] == depth
        ]
        yield f"| depth {depth} | " + " | ".join(cells) + " |"


def figure(found):
    """Draw where φ rises, how far along some runs, and the law of small step sizes."""
    drawn = Figure((11.0, 3.8), **STYLE)
    where, along, law = drawn.subplots(1, 3)
    _where(where, found)
    _along(along, found)
    _law(law, found["small-steps"])
    for axes in (where, along, law):
        axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _where(axes, found):
    census = np.array([at for row in found["census"] for at in row["where"]]).T
    axes.plot(*census, ".", color="0.75", markersize=3, label="scalar networks, at random")
    for i, (part, name) in enumerate(NAMES.items()):
        at = [
            (one["sharpness"], one["relative"])
            for row in found.get(part, [])
            for one in row["where"]
        ]
        if at:
            style = {"color": COLOURS[i], "markersize": 4, "linestyle": "none"}
            axes.plot(*np.array(at).T, marker=MARKERS[i], alpha=0.5, label=name, **style)
    axes.axvline(1, color="0.3", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlim=(0.03, 30), ylim=(1e-10, 1e3))
    axes.set(xlabel="sharpness before the step, of 2/η", ylabel="rise of φ, of itself")
    axes.set_title("Where φ rises", fontsize=10)
    axes.legend(frameon=False, fontsize=7, loc="upper left")


SHOWN = (
    ("regression, sparse, scale 0.1", 0),
    ("regression, sparse, scale 0.1", 1),
    ("regression, sparse, scale 0.1", 2),
    ("regression, random", 3),
    ("regression, sparse, other data", 3),
    ("main job", 1),
)


def _along(axes, found):
    """Draw by how much φ lies above the lowest value that it had before."""
    runs = [row for part in NAMES for row in found.get(part, [])]
    for i, (label, which) in enumerate(SHOWN):
        row = [row for row in runs if row["label"] == label][which]
        at, change = np.array(row["curve"][0]), 1 + np.array(row["curve"][1])
        above = change / np.minimum.accumulate(change) - 1
        axes.plot(
            at,
            np.where(above > 0, above, np.nan),
            color=COLOURS[i],
            label=f"{label}, φ = {row['start'][1]:.2g}",
            marker="." if len(at) > 50 else MARKERS[i],
            markersize=4,
            linewidth=1.2,
        )
    axes.set(xscale="log", yscale="log", ylim=(1e-7, 3e2), xlim=(1, 300))
    axes.set(xlabel="step", ylabel="φ above its lowest before, of itself")
    axes.set_title("How far φ rises", fontsize=10)
    axes.legend(
        frameon=False,
        fontsize=7,
        loc="upper left",
        title="φ at the start, of 2/η",
        title_fontsize=7,
    )


def _law(axes, rows):
    for i, label in enumerate(dict.fromkeys(row["label"] for row in rows)):
        x, change = np.array(
            [(row["multiple"], row["change"]) for row in rows if row["label"] == label]
        ).T
        sign = "rises" if change[-1] > 0 else "falls"
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4}
        axes.plot(x, np.abs(change), label=f"{label}: {sign}", **style)
    x = np.array([0.01, 1.0])
    axes.plot(x, 1e-4 * x**2, color="0.5", linestyle=":", label="η²")
    axes.set(xscale="log", yscale="log", xlabel="φ at the point, of 2/η")
    axes.set(ylabel="change of φ by one step, of itself")
    axes.set_title("One step, ever smaller", fontsize=10)
    axes.legend(frameon=False, fontsize=7)
