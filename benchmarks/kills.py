"""Runs that are killed again and again, each compared bit for bit with one that never was.

    python benchmarks/kills.py [--kills 200] [--seed 0]

A run is begun, killed by SIGKILL, resumed, killed again, ..., up to `KILLS_PER_RUN` times, and then
left to end; so on until the number of kills is reached. The moments are drawn at random, of three
kinds in turn: after some time, from outside; within a gradient flow; within a write. After every
kill the folder must hold a readable state. Prints how many kills of each kind hit, from what the
runs went on, and how many of them ended with the same bits.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import deadly
from thalweg import descent, results
from thalweg.experiments import EXPERIMENTS
from thalweg.experiments.stored import experiment_of

KILLS_PER_RUN = 20
LONGEST = 600.0  # seconds, of one process: more is a hang

EXPERIMENTS_OF_RUNS = [
    shlex.split(
        "digits-mlp --samples 8 --widths 4 --steps 20 --rtol 1e-2 --sharpness-every 5 "
        "--gfs-every 5 --gfs-start 5"
    ),
    shlex.split("scalar --step-size 0.25 0.1 --steps 40 --sharpness-every 4 --gfs-every 2"),
]
KINDS = [["time", "flow", "write"], ["time", "write"]]
"""The moments of each: closed forms have no flows to be killed in."""

MOST = {"flow": 3, "checkpoint.npz": 16, "result.nc": 10, "config.json": 5, "summary.json": 5}
"""The highest number that is drawn, of reports within flows and of steps of writing each file."""

FILES, SHARES = list(MOST)[1:], [0.5, 0.3, 0.1, 0.1]


@dataclass(frozen=True)
class Kill:
    """One process that was to be killed.

    Attributes
    ----------
    where
        The kind of the moment: "time", "flow" or "write".
    hit
        Whether it was: the process may have ended before.
    state
        What the next process will go on from: "last" (checkpoint), "before" (the one before it),
        "none" (from the start of the run), or "finished".
    """

    where: str
    hit: bool
    state: str


def series(
    experiment: list[str], folder: Path, kinds: list[str], random: np.random.Generator
) -> list[Kill]:
    """Run an experiment in `folder`, killed once for each kind, if it lasts, then to its end."""
    kills = []
    for kind in kinds:
        when = str(random.choice(FILES, p=SHARES)) if kind == "write" else kind
        number = int(random.integers(1, MOST.get(when, 1) + 1))
        delay = float(random.uniform(0.0, 0.8))
        hit = _process(_command(experiment, folder), when, number, delay)
        kills.append(Kill(kind, hit, state_of(folder)))
        if kills[-1].state == "finished":
            break
    assert not _process(_command(experiment, folder), "never")
    return kills


def numbers(folder: Path) -> tuple[Any, ...]:
    """Return all that must not depend on interruptions, as bytes and plain values."""
    run = results.load(folder)
    assert run.summary is not None
    arrays = {name: values.values.tobytes() for name, values in run.dataset.variables.items()}
    summary = {name: value for name, value in run.summary.items() if name != "seconds"}
    return arrays, run.dataset.attrs, run.config, summary


def state_of(folder: Path) -> str:
    """Read everything in a run folder, as whoever resumes or plots it would; say what is there.

    Raises
    ------
    ValueError
        Something cannot be read.
    """
    opened = results.RunFolder(folder)
    if not opened.config.exists():
        assert not opened.dataset.exists()
        return "none"
    if opened.dataset.exists() and results.load(folder).summary is not None:
        return "finished"
    _, start = experiment_of(opened.read_config(), EXPERIMENTS).build()  # type: ignore[attr-defined]
    there = {"last": opened.checkpoint, "before": opened.checkpoint_before}
    readable = [name for name, path in there.items() if path.exists()]
    for name in readable:
        descent.read_checkpoint(there[name], start)
    return readable[0] if readable else "none"


def _command(experiment: list[str], folder: Path) -> list[str]:
    """Return what a user would type: `run`, or `resume` where something has been written."""
    if (folder / results.CONFIG).exists():
        return ["resume", str(folder)]
    return ["run", *experiment, "--out", str(folder)]


def _process(arguments: list[str], when: str, number: int = 0, delay: float = 0.0) -> bool:
    """Run the command line in a process of its own; return whether it was killed.

    `delay` is in seconds from the moment at which the descent reports for the first time.
    """
    inside = "never" if when == "time" else when
    command = [sys.executable, deadly.__file__, inside, str(number), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        if when == "time":
            for line in process.stderr:
                said += line
                if deadly.BEGUN in line:
                    time.sleep(delay)
                    process.kill()
                    break
        said += process.communicate(timeout=LONGEST)[1]
    assert process.returncode in (0, -9), said
    return process.returncode == -9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    random, began = np.random.default_rng(options.seed), time.perf_counter()
    kills: list[Kill] = []
    runs = same = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{scratch}/cache"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        whole = []
        for number, experiment in enumerate(EXPERIMENTS_OF_RUNS):
            series(experiment, Path(scratch, f"whole{number}"), [], random)
            whole.append(numbers(Path(scratch, f"whole{number}")))
        while sum(kill.hit for kill in kills) < options.kills:
            which = int(runs % 3 == 2)
            kinds = KINDS[which]
            drawn = [kinds[i % len(kinds)] for i in random.permutation(KILLS_PER_RUN)]
            folder = Path(scratch, f"run{runs}")
            kills += series(EXPERIMENTS_OF_RUNS[which], folder, drawn, random)
            runs += 1
            left = {entry.name for entry in folder.iterdir()}
            clean = left == {"config.json", "result.nc", "summary.json", "figure.png"}
            same += clean and numbers(folder) == whole[which]
            hits = [kill for kill in kills if kill.hit]
            print(
                f"{len(hits)} kills ({_counts(kill.where for kill in hits)}), gone on from "
                f"{_counts(kill.state for kill in hits)}; {same} of {runs} runs identical; "
                f"{len(kills) - len(hits)} processes ended first; "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
    assert same == runs


def _counts(words: Any) -> str:
    return ", ".join(f"{word} {number}" for word, number in sorted(Counter(words).items()))


if __name__ == "__main__":
    main()
