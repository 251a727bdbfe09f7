"""Paths that cannot be used, and damaged files: refused, or read with the right numbers."""

import gzip
import io
import json
import os
import shutil
import struct
import sys
import zipfile

import numpy as np
import pytest
import xarray as xr
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bad_inputs import PROMISED, assert_refused, examples, snapshot, thalweg, within
from thalweg import cli, experiments, results
from thalweg.data import load_images
from thalweg.descent import read_checkpoint
from thalweg.experiments import Scalar
from thalweg.runs import saving
from thalweg.runs.strict_json import to_json

CONFIG = Scalar(step_size=(0.25, 0.1), steps=16, sharpness_every=3, gfs_every=5)
FLIPS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1)
CUT = st.floats(0, 1, exclude_max=True)
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), FLIPS.map(tuple)),
    st.tuples(st.just("cut"), CUT),
    st.tuples(st.just("bytes"), st.binary(max_size=300)),
)


def damaged(content, damage):
    """Return the bytes with some bits flipped, cut off, or replaced."""
    how, what = damage
    if how == "bytes":
        return what
    if how == "cut":
        return content[: int(what * len(content))]
    content = bytearray(content)
    for place, bit in what:
        content[int(place * len(content))] ^= 1 << bit
    return bytes(content)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a whole run, and one that was stopped."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thalweg.runs.figure.plot", lambda dataset, **options: Figure((1, 1)))
        patch.setattr(saving, "INTERVAL", 0.0)
        patch.setattr(saving, "SHARE_OF_CHECKPOINTS", np.inf)
        experiments.run(CONFIG, folder / "whole")
        experiments.run(CONFIG, folder / "stopped", report=lambda progress: progress.step >= 7)
    assert (folder / "stopped" / "checkpoint-before.npz").exists()
    return folder


@pytest.fixture
def scratch(tmp_path, runs):
    """Return a folder with copies of both runs, a file, and other things."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    return tmp_path


def restore(scratch, runs, name):
    for entry in (runs / name).iterdir():
        (scratch / name / entry.name).write_bytes(entry.read_bytes())


ODD = st.text(min_size=1, max_size=20).map(lambda text: text.replace("/", "\n").strip(".") or "\n")
NOT_FOR_RESULTS = st.one_of(
    st.sampled_from(["file", "other", "whole", "stopped", "link", "file/run", "whole/figure.png"]),
    st.integers(256, 5000).map(lambda length: length * "x"),
    st.integers(100, 900).map(lambda depth: depth * "aaaaaaaaaa/" + 256 * "x"),
    ODD.map(lambda text: f"file/{text}"),
    ODD.map(lambda text: f"{text}\0"),
)
NO_RUN = st.one_of(
    st.sampled_from(["file", "other", "link", "nowhere", "whole/config.json", "file/run"]),
    st.integers(256, 5000).map(lambda length: length * "x"),
    ODD.map(lambda text: f"missing {text}"),
    ODD.map(lambda text: f"{text}\0"),
)


@pytest.mark.survival
@examples(60, path=NOT_FOR_RESULTS, command=st.sampled_from(["scalar", "scalar-plane"]))
def test_folders_that_cannot_be_used(path, command, scratch):
    # Not joined by pathlib, which would tidy them up.
    assert_refused(scratch, "run", command, "--out", f"{scratch}/{path}")


@examples(40, path=NO_RUN, command=st.sampled_from(["resume", "plot"]))
def test_folders_that_hold_no_run(path, command, scratch):
    assert_refused(scratch, command, f"{scratch}/{path}")


NO_FOLDER = st.sampled_from(["file", "link", "file/x", "x\0", 300 * "x"])
SIZES = st.sampled_from([["--quick"], [], ["--full"]])


@pytest.mark.survival
@examples(12, path=NO_FOLDER, size=SIZES)
def test_folders_that_cannot_hold_a_reproduction(path, size, scratch):
    assert_refused(scratch, "reproduce", *size, "--out", f"{scratch}/{path}")


@pytest.mark.survival
def test_odd_names_that_can_be_used_are(tmp_path):
    for name in ("-new\nline", "ünï→ %s{}", os.fsdecode(b"\xff\xfe")):
        code, _, _ = thalweg(
            "run", "scalar", f"--out={tmp_path}/{name}", "--steps", 3, "--gfs-every", 3
        )
        assert code == 0, name
        assert thalweg("plot", tmp_path / name)[0] == 0
        assert thalweg("resume", tmp_path / name)[0] == 0


def test_what_is_not_text_can_be_printed_to_any_terminal(tmp_path, monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    folder = str(tmp_path / os.fsdecode(b"\xff"))
    assert cli.main(["run", "scalar", "--out", folder, "--steps", "3", "--gfs-every", "3"]) == 0
    narrow.flush()
    assert b"2/\\u03b7" in narrow.buffer.getvalue()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
VALID = json.loads(to_json({"experiment": "scalar", **vars(CONFIG)}))
NUMBERS = [name for name, value in VALID.items() if type(value) in (int, float)]
WRONG = st.one_of(
    st.text(max_size=3),
    st.lists(st.none(), min_size=1, max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
    st.sampled_from([float("nan"), float("inf"), -1, -(10**400), 10**400, -0.5, 2**63]),
)
BAD_CONFIG = st.one_of(
    JSON.map(json.dumps).map(str.encode),
    CUT.map(lambda part: damaged(to_json(VALID).encode(), ("cut", part))),
    st.binary(max_size=50),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"\xef\xbb\xbf{}", b"1" * 5000, b""]),
    st.tuples(st.sampled_from(NUMBERS), WRONG).map(
        lambda change: json.dumps(VALID | dict([change])).encode()
    ),
    st.text(min_size=1).map(lambda name: json.dumps(VALID | {f"zz{name}": 1}).encode()),
    JSON.map(lambda value: json.dumps(VALID | {"experiment": [value]}).encode()),
    st.integers(1, 99).map(
        lambda depth: json.dumps(VALID | {"init": depth * [1.0], "depth": depth + 1}).encode()
    ),
    st.sampled_from([10**12, 10**15, 2**62]).map(
        lambda steps: json.dumps(VALID | {"steps": steps}).encode()
    ),
    # Of two values of one name, JSON takes the last.
    st.sampled_from(NUMBERS).map(
        lambda name: to_json(VALID)[:-1].encode() + f', "{name}": -7}}'.encode()
    ),
)


@pytest.mark.slow
@examples(120, content=BAD_CONFIG)
def test_configurations_that_are_damaged(content, scratch):
    (scratch / "stopped" / "config.json").write_bytes(content)
    assert_refused(scratch, "resume", scratch / "stopped")
    assert_refused(scratch, "run", "scalar", "--out", scratch / "stopped")


@pytest.mark.survival
@examples(40, name=st.sampled_from(NUMBERS), factor=st.integers(2, 50))
def test_configurations_that_were_edited_are_told_by_the_checkpoint(name, factor, scratch):
    edited = VALID | {name: VALID[name] * factor or 1}
    if name == "depth":
        edited["init"] = edited["init"] * factor
    (scratch / "stopped" / "config.json").write_text(json.dumps(edited))
    error = assert_refused(scratch, "resume", scratch / "stopped")
    assert "and is" in error


@pytest.mark.survival
@examples(120, damage=DAMAGE)
def test_results_that_are_damaged(damage, scratch, runs):
    path = scratch / "whole" / "result.nc"
    whole = (runs / "whole" / "result.nc").read_bytes()
    path.write_bytes(damaged(whole, damage))
    if path.read_bytes() == whole:
        assert thalweg("plot", scratch / "whole")[0] == 0
        return
    assert_refused(scratch, "plot", scratch / "whole")
    with pytest.raises(ValueError, match=r"result\.nc") as caught:
        results.load(scratch / "whole")
    assert "\n" not in str(caught.value)


ARRAYS = st.sampled_from(
    [
        np.zeros(()),
        np.zeros((2, 0)),
        np.full((2, 17), np.nan),
        np.full((2, 17), 1e308),
        np.full((2, 17), -np.inf),
        np.zeros((2, 17), np.int8),
        np.array(["a", "b"]),
        np.zeros((3, 4, 5)),
        np.zeros(5, bool),
        np.array([1e300, -1e300]),
    ]
)
NAMES = st.sampled_from(
    [
        *("loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error", "gfs_status", "step_size"),
        *("threshold", "mark_run", "w", "outcome_count", "product", "density", "zz"),
    ]
)
KINDS = st.sampled_from(["scalar", "scalar-plane", "scalar-sweep", "scalar-bifurcation", "zz"])


@pytest.mark.survival
@examples(60, arrays=st.dictionaries(NAMES, ARRAYS, max_size=4), kind=KINDS)
def test_results_of_others_are_drawn_or_refused(arrays, kind, scratch):
    data = {
        name: ([f"{name}_{axis}" if axis else "run" for axis in range(array.ndim)], array)
        for name, array in arrays.items()
        if array.ndim == 0 or array.shape[0] == 2
    }
    content = io.BytesIO()
    xr.Dataset(data, attrs={"experiment": kind}).to_netcdf(content, engine="h5netcdf")
    (scratch / "whole" / "result.nc").write_bytes(content.getvalue())
    before = snapshot(scratch)
    code, out, err = thalweg("plot", scratch / "whole")
    if code:
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert snapshot(scratch) == before


def test_results_that_stand_for_more_than_there_is_memory(scratch):
    import h5netcdf

    with h5netcdf.File(scratch / "whole" / "result.nc", "w") as file:
        file.dimensions = {"run": 1, "step": 10**14}
        file.create_variable("loss", ("run", "step"), float, chunks=(1, 1000))
    with within(20):
        assert "memory" in assert_refused(scratch, "plot", scratch / "whole")


@pytest.mark.survival
@examples(60, damage=DAMAGE)
def test_summaries_that_are_damaged(damage, scratch, runs):
    whole = (runs / "whole" / "summary.json").read_bytes()
    content = damaged(whole, damage)
    (scratch / "whole" / "summary.json").write_bytes(content)
    if content == whole:
        return
    assert_refused(scratch, "resume", scratch / "whole")
    assert_refused(scratch, "plot", scratch / "whole")


def start():
    return CONFIG.build()[1]


def contents(path):
    """Return a checkpoint in a form that can be compared bit by bit."""
    checkpoint, stamp = read_checkpoint(path, start())
    return json.dumps(to_json(stamp)) + repr(
        [(name, repr(value)) for name, value in vars(checkpoint).items()]
    )


@examples(150, damage=DAMAGE)
def test_checkpoints_that_are_damaged_are_refused_or_read_as_they_were(damage, scratch, runs):
    path = scratch / "stopped" / "checkpoint.npz"
    path.write_bytes(damaged((runs / "stopped" / "checkpoint.npz").read_bytes(), damage))
    try:
        found = contents(path)
    except ValueError as error:
        assert "is damaged" in str(error)  # noqa: PT017 (the other way is right as well)
    else:
        assert found == contents(runs / "stopped" / "checkpoint.npz")


def archive(members):
    content = io.BytesIO()
    np.savez(content, **members)
    return content.getvalue()


@st.composite
def wrong_archives(draw):
    """Return a function that makes an archive of another one's members."""
    how = draw(st.sampled_from(["values", "shape", "dtype", "missing", "exchanged", "structure"]))
    which, other = draw(st.integers(0, 50)), draw(st.integers(1, 50))

    def change(members):
        names = sorted(members)
        name = names[which % len(names)]
        if how == "values":
            members[name] = members[name] + np.uint8(other)
        elif how == "shape":
            members[name] = np.append(members[name], np.uint8(other))
        elif how == "dtype":
            members[name] = members[name].astype([float, np.int16, bool, "S1"][other % 4])
        elif how == "missing":
            del members[name]
        elif how == "exchanged":
            partner = names[(which + other) % len(names)]
            members[name], members[partner] = members[partner], members[name]
        else:
            members["structure"] = np.frombuffer(b'{"tuple": [1, [2]]}', np.uint8)
        return members

    return change


@pytest.mark.slow
@examples(60, change=wrong_archives())
def test_checkpoints_with_other_arrays_are_refused(change, scratch, runs):
    path = scratch / "stopped" / "checkpoint.npz"
    with np.load(runs / "stopped" / "checkpoint.npz") as stored:
        before = {name: stored[name] for name in stored.files}
    after = change(dict(before))
    path.write_bytes(archive(after))
    path.with_name("checkpoint-before.npz").write_bytes(archive(after))
    same = after.keys() == before.keys() and all(
        after[name].dtype == before[name].dtype and np.array_equal(after[name], before[name])
        for name in after
    )
    if same:  # two equal arrays were exchanged
        assert contents(path) == contents(runs / "stopped" / "checkpoint.npz")
        return
    error = assert_refused(scratch, "resume", scratch / "stopped")
    assert "is damaged: begin anew" in error


def test_an_archive_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(scratch, runs):
    for end in ("", "-before"):
        with (
            zipfile.ZipFile(
                scratch / "stopped" / f"checkpoint{end}.npz", "w", zipfile.ZIP_DEFLATED
            ) as file,
            file.open("structure.npy", "w") as member,
        ):
            np.lib.format.write_array_header_1_0(
                member, {"descr": "|u1", "fortran_order": False, "shape": (2**28,)}
            )
            for _ in range(2**8):
                member.write(bytes(2**20))
    with within(5):
        assert "is damaged" in assert_refused(scratch, "resume", scratch / "stopped")


ENDS = st.lists(st.sampled_from(["", "-before"]), min_size=1, unique=True)


@pytest.mark.survival
@examples(8, damage=DAMAGE, flags=ENDS)
def test_a_run_with_damaged_checkpoints_is_refused_or_ends_with_the_same_bits(
    damage, flags, scratch, runs
):
    restore(scratch, runs, "stopped")
    for entry in (scratch / "stopped").iterdir():
        if not (runs / "stopped" / entry.name).exists():
            entry.unlink()
    for end in flags:
        path = scratch / "stopped" / f"checkpoint{end}.npz"
        path.write_bytes(damaged(path.read_bytes(), damage))
    before = snapshot(scratch)
    code, out, err = thalweg("resume", scratch / "stopped")
    if code:
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert snapshot(scratch) == before
        return
    one = results.load(runs / "whole").dataset
    other = results.load(scratch / "stopped").dataset
    xr.testing.assert_identical(one, other)
    for name, values in one.variables.items():
        assert values.values.tobytes() == other[name].values.tobytes(), name


def idx(array):
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + (
        array.tobytes()
    )  # fmt: skip


PIXELS, LABELS = idx(np.zeros((20, 4, 4))), idx(np.arange(20) % 10)
BATCH = b"".join(bytes([label]) + bytes(3072) for label in range(4))
HEADER = st.integers(0, 15).flatmap(
    lambda place: st.integers(1, 255).map(lambda change: (place, change))
)


@pytest.mark.slow
@examples(60, part=CUT, packed=st.booleans(), which=st.integers(0, 2), header=HEADER)
def test_images_that_are_cut_or_wrong(part, packed, which, header, scratch):
    folder = scratch / "images"
    folder.mkdir(exist_ok=True)
    files = [PIXELS, LABELS]
    if which < 2:
        files[which] = files[which][: int(part * len(files[which]))]
    else:
        place, change = header
        changed = bytearray(PIXELS)
        changed[place] ^= change
        files[0] = bytes(changed)
    for name, raw in zip(("images-idx3", "labels-idx1"), files, strict=True):
        for end in ("", ".gz"):
            (folder / f"train-{name}-ubyte{end}").unlink(missing_ok=True)
        path = folder / f"train-{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(raw, 1) if packed else raw)
    command = ["run", "network", "--out", scratch / "out", "--data-dir", folder, "--data"]
    assert_refused(scratch, *command, "mnist")
    assert_refused(scratch, *command, "fashion-mnist", "--samples", 5)


@examples(40, damage=DAMAGE, binary=st.booleans())
def test_batches_of_images_that_are_damaged(damage, binary, tmp_path):
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}{'.bin' if binary else ''}").write_bytes(BATCH)
    broken = BATCH[:-1] if damage[0] == "flip" else damaged(BATCH, damage)
    if binary and len(broken) % 3073 == 0:
        broken += b"x"
    (tmp_path / f"data_batch_3{'.bin' if binary else ''}").write_bytes(broken)
    with pytest.raises((ValueError, OSError)) as caught:
        load_images("cifar10", tmp_path)
    assert "\n" not in str(caught.value)
    for file in tmp_path.iterdir():
        file.unlink()


def test_so_many_inputs_were_generated():
    assert sum(PROMISED.values()) >= 800
