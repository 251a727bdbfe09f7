"""The figures of the benchmarks' page, from stored results."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from growth import has_settled

# Okabe and Ito's colours, which the colour-blind tell apart; shapes tell methods apart as well.
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#000000")
MARKERS = "DosX^v<>ph*"
STYLE = {"dpi": 150, "layout": "constrained"}


def comparison(results, methods, accuracy):
    """Draw the seconds to an accuracy; hollow at the right edge: not reached."""
    flows = list(results["flows"])
    figure = Figure((8.5, 1.6 + 0.55 * len(flows)), **STYLE)
    axes = figure.subplots()
    times = {method: seconds_by_flow(results, flows, method, accuracy) for method in methods}
    known = [t for column in times.values() for t in column.values() if t]
    edge = 5 * max(known, default=1.0)
    for i, (method, column) in enumerate(times.items()):
        shift = 0.7 * (i / (len(methods) - 1) - 0.5)
        style = {"marker": MARKERS[i], "color": COLOURS[i % len(COLOURS)], "linestyle": "none"}
        axes.plot([], [], label=method, **style)
        for flow, t in column.items():
            y = flows.index(flow) + shift
            axes.plot(t or edge, y, markerfacecolor=None if t else "none", markersize=6, **style)
    for i in range(len(flows) - 1):
        axes.axhline(i + 0.5, color="0.85", linewidth=0.6)
    axes.axvline(edge / 2, color="0.5", linestyle=":", linewidth=0.8)
    axes.set(
        xscale="log", yticks=range(len(flows)), yticklabels=flows, ylim=(len(flows) - 0.5, -0.5)
    )
    axes.set_xlabel(f"seconds to a relative error of {accuracy:.0e}; hollow: not reached")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    return figure


def seconds_by_flow(results, flows, method, accuracy):
    """Return the seconds of a method by flow, `None` where it did not get there."""
    entries = {flow: results["flows"][flow]["methods"].get(method) for flow in flows}
    return {
        flow: entry["reached"].get(f"{accuracy:g}", {}).get("seconds")
        for flow, entry in entries.items()
        if entry and entry["fits"]
    }


def calibration(results):
    """Draw histograms of the true error over the error bar."""
    methods = list(dict.fromkeys(r.method for r in results))
    figure = Figure((6.5, 3.0), **STYLE)
    axes = figure.subplots()
    bins = np.geomspace(1e-5, 1e2, 43)
    for i, method in enumerate(methods):
        ratios = [
            max(r.error, 1e-300) / r.sharpness_error
            for r in results
            if r.method == method and r.claims
        ]
        axes.hist(
            np.clip(ratios, bins[0], bins[-1]),
            bins,
            histtype="step",
            linestyle=("-", "--", ":")[i % 3],
            color=COLOURS[i],
            linewidth=1.5,
            label=method,
        )
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.set(
        xscale="log", xlabel="true error / error bar (right of 1: not covered)", ylabel="cases"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def growth(experiments):
    """Draw evaluations (above) and seconds (below) against size; hollow: given up."""
    figure = Figure((2.6 * len(experiments) + 0.6, 4.6), **STYLE)
    panels = figure.subplots(2, len(experiments), sharex="col", squeeze=False)
    for j, (name, curves) in enumerate(experiments.items()):
        for i, what in enumerate(("evaluations", "seconds")):
            axes = panels[i, j]
            for k, (curve, rows) in enumerate(curves.items()):
                sizes, costs = [row["size"] for row in rows], [row[what] for row in rows]
                style = {"marker": MARKERS[k], "color": COLOURS[k], "markersize": 4}
                axes.plot(sizes, costs, label=curve, **style)
                given_up = [row for row in rows if not has_settled(row)]
                axes.plot(
                    [row["size"] for row in given_up],
                    [row[what] for row in given_up],
                    **(style | {"markerfacecolor": "white", "linestyle": "none"}),
                )
            axes.set(xscale="log", yscale="log", ylabel=what if j == 0 else None)
            if len(sizes) < 5:
                axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.spines[["top", "right"]].set_visible(False)
        panels[1, j].set_xlabel(name)
        if len(curves) > 1:
            panels[0, j].legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
