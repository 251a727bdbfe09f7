"""What the environment may set: JAX's platforms and checks, and matplotlib's backend."""

import os
import subprocess
import sys

import jax
import pytest

from bad_inputs import snapshot, thalweg
from thalweg import cli

FEW = ["--steps", "4", "--sharpness-every", "2", "--gfs-every", "2"]


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to begin\nat all")])
def test_a_platform_without_a_device_is_bad_input(error, tmp_path, monkeypatch):
    assert thalweg("run", "scalar", "--out", tmp_path / "old", *FEW)[0] == 0
    before = snapshot(tmp_path)

    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    said = f" ({error})".partition("\n")[0] + ")" if str(error) else ""
    for command in (
        ["run", "scalar", "--out", tmp_path / "new"],
        ["run", "scalar", "--out", tmp_path / "old", "--overwrite"],
        ["reproduce", "--out", tmp_path / "all", "--quick"],
        ["resume", tmp_path / "old"],
    ):
        assert thalweg(*command) == (
            cli.BAD_INPUT,
            "",
            f"thalweg: error: JAX finds no device with JAX_PLATFORMS=cuda{said}: unset it for what "
            "there is, or set it to cpu\n",
        )
        assert snapshot(tmp_path) == before
    assert thalweg("plot", tmp_path / "old")[0] == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"JAX_PLATFORMS": "nonsense"}, "JAX finds no device with JAX_PLATFORMS=nonsense"),
        ({"JAX_ENABLE_X64": "perhaps"}, "JAX cannot be started: invalid truth value 'perhaps'"),
    ],
)
def test_settings_of_jax_that_make_no_sense(setting, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "thalweg.cli", "run", "scalar", "--out", str(tmp_path / "run")],
        env=os.environ | setting,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (cli.BAD_INPUT, ""), done
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
