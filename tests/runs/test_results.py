"""Run folders: what is on disk after every write, every failure and every interruption."""

import json
import math
import os
from enum import IntEnum
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from thalweg.basics.versions import versions
from thalweg.runs import RunFolder, load
from thalweg.runs.atomic_write import TEMPORARY
from thalweg.runs.strict_json import to_json


def dataset(value=1.0):
    return xr.Dataset(
        {"loss": (("run", "step"), np.full((1, 3), value))},
        coords={"step_size": ("run", [0.2]), "threshold": ("run", [math.nan]), "step": [0, 1, 2]},
        attrs={"experiment": "scalar"},
    )


def whole_run(path, tag="old"):
    folder = RunFolder.create(path)
    folder.write_config({"tag": tag, "seed": 7})
    folder.checkpoint.write_bytes(b"state")
    folder.write_dataset(dataset())
    folder.figure.write_bytes(b"png")
    folder.write_summary({"tag": tag})
    return folder


def names(path):
    return {entry.name for entry in Path(path).iterdir()}


WHOLE = {"config.json", "result.nc", "summary.json", "figure.png", "checkpoint.npz"}


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    folder = RunFolder.create(tmp_path / "deep" / "run")
    folder.write_config({"experiment": "scalar", "seed": 7, "step_size": [0.1, 0.2]})
    folder.write_dataset(dataset())
    unfinished = load(folder.path)
    folder.write_summary({"seconds": 1.5})
    run = load(str(folder.path))
    assert unfinished.summary is None
    assert run.summary == {"seconds": 1.5}
    assert run.config == {"experiment": "scalar", "seed": 7, "step_size": [0.1, 0.2]}
    xr.testing.assert_equal(run.dataset, dataset())
    assert run.dataset["loss"].dims == ("run", "step")
    assert run.dataset.attrs["experiment"] == "scalar"
    assert json.loads(run.dataset.attrs["config"]) == run.config
    assert json.loads(run.dataset.attrs["versions"]) == versions()
    assert run.dataset.attrs["seed"] == 7
    assert names(folder.path) == {"config.json", "result.nc", "summary.json"}


def test_the_loaded_dataset_does_not_depend_on_its_file(tmp_path):
    folder = whole_run(tmp_path / "run")
    run = load(folder.path)
    folder.dataset.unlink()
    assert float(run.dataset["loss"].sum()) == 3.0


def test_given_attributes_win_and_the_callers_dataset_is_untouched(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config({"seed": 7})
    given = dataset().assign_attrs(seed=8, config={"nested": {"depth": 4}}, versions="mine")
    before = dict(given.attrs)
    folder.write_dataset(given)
    assert given.attrs == before
    stored = load(folder.path).dataset.attrs
    assert stored["seed"] == 8
    assert json.loads(stored["config"]) == {"nested": {"depth": 4}}
    assert stored["versions"] == "mine"


def test_a_long_configuration_fits_into_the_attributes(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config({"values": list(range(50_000))})  # above HDF5's 64 kB for one header
    folder.write_dataset(dataset())
    run = load(folder.path)
    assert json.loads(run.dataset.attrs["config"]) == run.config


@pytest.mark.parametrize("name", ["config.json", "result.nc", "summary.json", "checkpoint.npz"])
def test_a_folder_with_any_part_of_a_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("old")
    message = r"already holds a run; pass --overwrite .*--out$"
    if name == "config.json":
        message = (
            rf"has not finished: `thalweg resume {tmp_path}` continues it, .*; choose another --out"
        )
    with pytest.raises(FileExistsError, match=message):
        RunFolder.create(tmp_path)
    RunFolder.create(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == "old"


def test_a_checkpoint_may_be_a_folder(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state").write_text("old")
    with pytest.raises(FileExistsError):
        RunFolder.create(tmp_path)
    RunFolder.create(tmp_path, overwrite=True).write_config({})
    assert names(tmp_path) == {"config.json"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_and_folders_of_other_things_are_refused(tmp_path, overwrite):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(FileExistsError, match=r"is a file; choose another --out$"):
        RunFolder.create(file, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is not empty and holds no run"):
        RunFolder.create(tmp_path, overwrite=overwrite)
    assert names(tmp_path) == {"file"}


def test_an_empty_folder_is_taken(tmp_path):
    RunFolder.create(tmp_path).write_config({})
    assert names(tmp_path) == {"config.json"}


def test_what_a_killed_first_write_leaves_is_no_reason_to_refuse(tmp_path):
    (tmp_path / f"{TEMPORARY}0123-config.json").write_text("{")
    folder = RunFolder.create(tmp_path)
    folder.write_config({"a": 1})
    assert names(tmp_path) == {"config.json"}
    assert folder.read_config() == {"a": 1}


def test_overwriting_keeps_the_old_run_until_the_first_write_and_drops_it_then(tmp_path):
    path = whole_run(tmp_path / "run").path
    (path / "notes.txt").write_text("mine")
    folder = RunFolder.create(path, overwrite=True)
    assert names(path) == WHOLE | {"notes.txt"}
    assert load(path).summary == {"tag": "old"}
    folder.write_config({"tag": "new"})
    assert names(path) == {"config.json", "notes.txt"}
    assert folder.read_config() == {"tag": "new"}


def test_a_first_write_that_fails_leaves_the_old_run_whole(tmp_path):
    path = whole_run(tmp_path / "run").path
    folder = RunFolder.create(path, overwrite=True)
    with pytest.raises(TypeError, match=r"value\['loss'\] is of type object"):
        folder.write_config({"loss": object()})
    broken = dataset().assign_attrs(bad=object())
    with pytest.raises(TypeError):
        folder.write_dataset(broken)
    assert names(path) == WHOLE
    assert load(path).summary == {"tag": "old"}
    folder.write_config({"tag": "new"})
    assert names(path) == {"config.json"}


@pytest.mark.parametrize("write", ["write_dataset", "write_summary"])
def test_whatever_is_written_first_drops_all_of_the_old_run(tmp_path, write):
    path = whole_run(tmp_path / "run").path
    folder = RunFolder.create(path, overwrite=True)
    getattr(folder, write)(dataset() if write == "write_dataset" else {"tag": "new"})
    assert names(path) == {"result.nc" if write == "write_dataset" else "summary.json"}
    if write == "write_dataset":  # the old configuration is not the new results'
        with xr.open_dataset(folder.dataset, engine="h5netcdf") as stored:
            assert "config" not in stored.attrs


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("first", ["config", "dataset"])
def test_an_interrupted_overwrite_never_mixes_two_runs(tmp_path, monkeypatch, first):
    """Kill the first write at its k-th change on disk, for every k."""
    for kill_at in range(20):
        path = whole_run(tmp_path / f"run{kill_at}").path
        folder = RunFolder.create(path, overwrite=True)
        changes = iter(range(100))

        def counted(function, changes=changes, kill_at=kill_at):
            def change(*args, **kwargs):
                # Clearing up the temporary file is no change of the run; putting it in place is.
                clears_up = len(args) == 1 and Path(args[0]).name.startswith(TEMPORARY)
                if not clears_up and next(changes) == kill_at:
                    raise KilledError
                return function(*args, **kwargs)

            return change

        killed = False
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", counted(Path.unlink))
            patch.setattr(os, "replace", counted(os.replace))
            try:
                if first == "config":
                    folder.write_config({"tag": "new"})
                else:
                    folder.write_dataset(dataset(2.0))
            except KilledError:
                killed = True
        left = names(path)
        assert not any(name.startswith(TEMPORARY) for name in left)
        if not killed:
            assert left == {"config.json" if first == "config" else "result.nc"}
            assert kill_at >= 5
            return
        assert kill_at == 0 or "summary.json" not in left
        if "config.json" in left:
            assert json.loads((path / "config.json").read_text())["tag"] == "old"
        if "result.nc" in left:
            with xr.open_dataset(path / "result.nc", engine="h5netcdf") as stored:
                assert float(stored["loss"][0, 0]) == 1.0
    pytest.fail("the write was never let through")


@pytest.mark.parametrize("write", ["config", "dataset"])
def test_a_summary_never_outlives_what_it_summarises(tmp_path, write):
    path = whole_run(tmp_path / "run").path
    folder = RunFolder.open(path)
    if write == "config":
        folder.write_config({"steps": 2000})
    else:
        folder.write_dataset(dataset(2.0))
    assert names(path) == WHOLE - {"summary.json", "figure.png"}


def test_a_failed_write_keeps_the_old_file_and_no_temporary_one(tmp_path):
    folder = RunFolder.create(tmp_path)
    folder.write_config({"a": 1})

    def fail():
        with folder.atomic_write(folder.config) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.name.endswith("config.json")
            temporary.write_text("{")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert names(tmp_path) == {"config.json"}
    assert folder.read_config() == {"a": 1}


def test_written_files_have_the_permissions_of_ordinary_ones(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config({})
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    assert folder.config.stat().st_mode == ordinary.stat().st_mode


def test_the_checkpoint_is_removed_and_nothing_else(tmp_path):
    folder = whole_run(tmp_path / "run")
    folder.remove_checkpoint()
    assert names(folder.path) == WHOLE - {"checkpoint.npz"}
    folder.remove_checkpoint()


def test_a_folder_without_a_run_is_answered_with_one_line(tmp_path):
    for path, message in [
        (tmp_path / "nowhere", "nowhere is not a folder"),
        (tmp_path, "holds no run: config.json is missing"),
    ]:
        with pytest.raises(FileNotFoundError, match=message) as caught:
            load(path)
        assert "\n" not in str(caught.value)
    RunFolder.create(tmp_path).write_config({})
    with pytest.raises(FileNotFoundError, match=r"a run without results: result\.nc is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "cannot be read as JSON"),
        ("config.json", b"\xff", "cannot be read as JSON"),
        ("summary.json", b"[]", "holds no JSON object"),
        ("result.nc", b"not HDF5", "cannot be read as netCDF"),
        ("result.nc", b"", "cannot be read as netCDF"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, content, message):
    folder = whole_run(tmp_path / "run")
    (folder.path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder.path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


class Colour(IntEnum):
    RED = 3


def test_json_is_strict_and_takes_numpy_and_jax():
    value = {
        "none": None,
        "flag": np.bool_(True),
        "python flag": False,
        "integer": np.int64(3),
        "enum": Colour.RED,
        "float": np.float32(0.5),
        "nan": math.nan,
        "infinity": -math.inf,
        "numpy nan": np.float64("nan"),
        "array": np.array([[1.0, np.inf]]),
        "jax": jnp.arange(2),
        "jax scalar": jnp.asarray(0.25),
        "tuple": (1, "a"),
        "path": Path("data/digits"),
        "empty": {},
    }

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(to_json(value), parse_constant=refuse) == {
        "none": None,
        "flag": True,
        "python flag": False,
        "integer": 3,
        "enum": 3,
        "float": 0.5,
        "nan": None,
        "infinity": None,
        "numpy nan": None,
        "array": [[1.0, None]],
        "jax": [0, 1],
        "jax scalar": 0.25,
        "tuple": [1, "a"],
        "path": "data/digits",
        "empty": {},
    }
    assert to_json({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'


@pytest.mark.parametrize("value", [{1: "a"}, {"a": [1, {2}]}, {"a": 1j}, {"a": np.array([1j])}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match=r"^value"):
        to_json(value)


def test_floats_keep_every_digit(tmp_path):
    folder = RunFolder.create(tmp_path)
    folder.write_config({"step_size": 0.1 + 0.2, "tiny": 5e-324})
    assert folder.read_config() == {"step_size": 0.1 + 0.2, "tiny": 5e-324}
