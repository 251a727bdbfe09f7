"""Runs that are killed again and again, each compared bit for bit with one that never was.

    python benchmarks/kills.py [KILLS [SEED]]

A run is begun, killed by SIGKILL, resumed, killed again and so on up to `PER_RUN` times, and then
left to end; and so are others, until there were as many kills as asked for. The moments are random,
of three kinds in turn: at some time, from outside; at a report within a gradient flow; between the
single steps of a write (`deadly.py`). After every kill, all that is in the folder has to be
readable. Processes are forks of this one, which has imported everything and started no part of JAX
that has threads: importing would take most of the time.
"""

import itertools
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

PER_RUN = 10
LONGEST = 300  # seconds of one process: more is a hang
RUNS = {
    "network": "network --architecture mlp --widths 4 --samples 8 --step-size 0.2 0.1 --steps 10 "
    "--sharpness-every 5 --gfs-every 10 --gfs-start 10 --rtol 1e-2",
    "scalar": "scalar --step-size 0.25 0.1 --steps 40",
    "digits-mlp": "digits-mlp --samples 8 --widths 4 --steps 10 --sharpness-every 5 --gfs-every 5 "
    "--gfs-start 5 --rtol 1e-2",
}
TURNS = ("network", "scalar", "digits-mlp", "scalar")
INTEGRATED = ("network", "digits-mlp")
# The highest numbers drawn; what is written once has few moments, and they all come.
WRITES = {
    "checkpoint.npz": 60,
    "checkpoint-before.npz": 12,
    "result.nc": 30,
    "config.json": 5,
    "figure.png": 5,
    "summary.json": 5,
}
SHARES = (0.05, 0.2, 1.0)
FINISHED = {"config.json", "result.nc", "summary.json", "figure.png"}
READ, DAMAGED = "everything can be read", "damaged: "


def session(folder, notes, when, number, share, arguments):
    """Check the folder as the last kill has left it, then run the command line to a kill."""
    os.environ["JAX_ENABLE_X64"] = "1"
    for stream in (1, 2):
        os.dup2(os.open(notes if stream == 2 else os.devnull, os.O_WRONLY | os.O_APPEND), stream)
    import jax

    import deadly

    jax.config.update("jax_enable_x64", True)
    found = unreadable_files(folder)
    deadly.note(DAMAGED + "; ".join(found) if found else READ)
    sys.exit(deadly.main(when, number, arguments, share))


def unreadable_files(folder):
    """Return what cannot be read of a folder."""
    from thalweg import descent, results
    from thalweg.experiments import EXPERIMENTS
    from thalweg.runs.stored import experiment_of

    if not (folder / "config.json").exists():  # begun anew, so nothing may be there but remains
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return [name for name in names if name in FINISHED or name.startswith("checkpoint")]
    found = []
    checkpoints = sorted(folder.glob("checkpoint*"))
    try:
        config = experiment_of(results.RunFolder.open(folder).read_config(), EXPERIMENTS)
        if (folder / "summary.json").exists() or (folder / "result.nc").exists():
            results.load(folder)
        _, start = config.build() if checkpoints else (None, None)
    except (OSError, ValueError) as error:
        return [str(error)]
    for path in checkpoints:
        try:
            descent.read_checkpoint(path, start)
        except (OSError, ValueError) as error:
            found.append(str(error))
    return found


class Process:
    """A forked session, what it has noted, and how it ended."""

    def __init__(self, folder, moment, share, arguments, delay=None):
        when, number = moment
        notes = Path(f"{folder}.notes")
        notes.write_text("")
        began = time.monotonic()
        process = multiprocessing.get_context("fork").Process(
            target=session, args=(folder, notes, when, number, share, arguments)
        )
        process.start()
        if delay is not None:
            self.wait_until_begun(process, notes)
            process.join(delay)
            process.kill()
        process.join(LONGEST)
        self.hangs = process.is_alive()
        if self.hangs:
            process.kill()
            process.join()
        self.seconds = time.monotonic() - began
        self.code, self.text = process.exitcode, notes.read_text()
        self.was_killed = self.code == -9 and not self.hangs

    @staticmethod
    def wait_until_begun(process, notes):
        """Return once the first save is due, or the process has ended."""
        import deadly

        while process.is_alive() and deadly.BEGUN not in notes.read_text():
            time.sleep(0.01)

    def noted(self, prefix):
        """Return what follows a prefix in the notes, once for each time."""
        import deadly

        start = deadly.PREFIX + prefix
        return [x.removeprefix(start) for x in self.text.splitlines() if x.startswith(start)]


def moment_of(kind, chance):
    """Return what `deadly.py` is told."""
    if kind == "outside":
        return "never", 0
    if kind == "flow":
        return "flow", chance.randint(1, 12)
    name = chance.choice(list(WRITES))
    return name, chance.randint(1, WRITES[name])


def numbers(folder):
    """Return everything in a run folder that must not depend on interruptions, as bytes."""
    from thalweg import results

    stored = results.load(folder)
    data = stored.dataset
    variables = {
        name: (v.dims, str(v.dtype), v.values.tobytes(), repr(sorted(v.attrs.items(), key=str)))
        for name, v in data.variables.items()
    }
    summary = {name: value for name, value in stored.summary.items() if name != "seconds"}
    return (
        variables,
        repr(sorted(data.attrs.items(), key=str)),
        json.dumps(stored.config),
        json.dumps(summary),
        (folder / "figure.png").read_bytes(),
    )


class Tally:
    """What there is to report."""

    def __init__(self, wanted):
        self.wanted, self.kills, self.runs, self.identical = wanted, 0, 0, 0
        self.by_kind, self.where, self.missed = Counter(), Counter(), Counter()
        self.sources, self.faults, self.by_run = Counter(), [], Counter()

    def add(self, kind, process):
        """Count a process that was to be killed."""
        import deadly

        if not process.was_killed:
            self.missed[kind] += 1
            return
        self.kills += 1
        self.by_kind[kind] += 1
        self.where[" ".join(process.noted(deadly.KILLED)) or "from outside"] += 1

    def look_at(self, process, name):
        """Note everything that must not be."""
        import deadly

        if process.hangs or process.code not in (0, -9):
            self.faults.append(f"{name}: exit code {process.code}: {process.text[-400:]}")
        if not process.noted(READ):
            self.faults.append(f"{name}: {process.text[:400]}")
        return process.noted(deadly.FROM)


def killed_run(name, folder, kinds, chance, tally, usual):
    """Kill a run again and again, and let it end."""
    begin = [*("run", *RUNS[name].split()), "--out", str(folder)]
    kills_here, number_of_process = 0, 0
    while True:
        arguments = ["resume", str(folder)] if (folder / "config.json").exists() else begin
        is_last = kills_here >= PER_RUN or tally.kills >= tally.wanted
        kind = "last" if is_last else next(kinds)
        if kind == "flow" and name not in INTEGRATED:
            kind = "write"
        moment = ("never", 0) if is_last else moment_of(kind, chance)
        delay = chance.uniform(0, 0.7 * usual) if kind == "outside" else None
        process = Process(folder, moment, chance.choice(SHARES), arguments, delay)
        sources = tally.look_at(process, name)
        if number_of_process > 0 and arguments[0] == "resume":
            finished = "nothing to do: finished" if not sources and process.code == 0 else None
            source = sources[0] if sources else finished or "none"
            # Without a checkpoint a run that ends begins at its first step: tell the two apart.
            if source.startswith("nothing") and "saving has begun" in process.text:
                source = "none"
            tally.sources[source] += 1
        elif number_of_process > 0:
            tally.sources["none"] += 1
        number_of_process += 1
        if kind != "last":
            tally.add(kind, process)
            kills_here += process.was_killed
        if not process.was_killed:
            return process


def reference(name, folder):
    """Run it as it is, and return its seconds once everything is compiled."""
    process = Process(folder, ("never", 0), 0.2, ["run", *RUNS[name].split(), "--out", str(folder)])
    assert process.code == 0, process.text
    again = Path(f"{folder}-again")
    arguments = ["run", *RUNS[name].split(), "--out", str(again)]
    second = Process(again, ("never", 0), 0.2, arguments)
    assert second.code == 0, second.text
    assert numbers(folder) == numbers(again), f"{name}: two uninterrupted runs differ"
    return second.seconds


def show(tally, seconds):
    """Print the figures."""
    print(f"{tally.kills} kills in {tally.runs} runs: {dict(tally.by_run)}")
    print(f"kills by kind: {dict(tally.by_kind)}; ended before their moment: {dict(tally.missed)}")
    for what, count in sorted(tally.where.items()):
        print(f"  {count:4d}  {what}")
    print(f"processes after a kill went on from: {dict(tally.sources)}")
    print(f"runs identical to the uninterrupted one: {tally.identical} of {tally.runs}")
    print(f"faults: {len(tally.faults)}")
    for fault in tally.faults:
        print(f"  {fault}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{seconds:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} s of CPU")


def main():
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    began = time.monotonic()
    tally = Tally(wanted)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(work / "cache")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        # Imported here, so that JAX knows of its cache, and by no process again.
        import deadly  # noqa: F401
        import thalweg.runs.runner

        del thalweg
        usual = {name: reference(name, work / f"whole-{name}") for name in RUNS}
        whole = {name: numbers(work / f"whole-{name}") for name in RUNS}
        kinds = itertools.cycle(("outside", "flow", "write"))
        for name in itertools.cycle(TURNS):
            if tally.kills >= wanted:
                break
            tally.runs += 1
            tally.by_run[name] += 1
            folder = work / f"run-{tally.runs}"
            end = killed_run(name, folder, kinds, chance, tally, usual[name])
            left = {path.name for path in folder.iterdir()}
            if end.code == 0 and left == FINISHED and numbers(folder) == whole[name]:
                tally.identical += 1
            else:
                tally.faults.append(f"{name}: code {end.code}, {sorted(left)}, or other numbers")
            print(
                f"run {tally.runs}, {name}: {tally.kills} kills so far, "
                f"{tally.identical} identical, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    show(tally, time.monotonic() - began)
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
