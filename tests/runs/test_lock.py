"""Locks that the file system refuses, lacks, or has lost: told as what they are."""

import errno
import fcntl
import os
import socket

import pytest

from bad_inputs import snapshot, thalweg
from thalweg import cli
from thalweg.runs.lock import LOCK, InUseError, Lock, lock_holder

FEW = ["--steps", 2, "--gfs-every", 2]


def refuse(monkeypatch, number):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("left_behind", [False, True])
def test_a_lock_that_fails_says_why(number, left_behind, tmp_path, monkeypatch):
    refuse(monkeypatch, number)
    if left_behind:
        (tmp_path / LOCK).write_text("1\nelsewhere\n")
    before = snapshot(tmp_path)
    code, out, err = thalweg("run", "scalar", "--out", tmp_path, *FEW)
    is_of_disk = number in (errno.EIO, errno.ESTALE)
    assert (code, out) == (cli.NOT_DONE if is_of_disk else cli.BAD_INPUT, "")
    assert f"{tmp_path / LOCK}: it cannot be locked: {os.strerror(number)}: " in err
    assert ("see to the disk" if is_of_disk else "choose another path") in err
    assert "in use" not in err
    assert err.count("\n") == 1
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_without_locks_the_file_is_the_lock(number, tmp_path, monkeypatch):
    refuse(monkeypatch, number)
    first = Lock.take(tmp_path)
    with pytest.raises(InUseError, match=f"by process {os.getpid()} on {socket.gethostname()}"):
        Lock.take(tmp_path)
    assert lock_holder(tmp_path) == f"process {os.getpid()} on {socket.gethostname()}"
    first.release()
    assert lock_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "is_free"),
    [
        ((2**22 + 1, socket.gethostname()), True),  # no process has this number
        ((os.getpid(), socket.gethostname()), False),
        ((2**22 + 1, "elsewhere"), False),
        ((2**99, socket.gethostname()), False),
        ((), False),
    ],
)
def test_without_locks_what_may_be_in_use_is_left_alone(content, is_free, tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOTSUP)
    (tmp_path / LOCK).write_text("".join(f"{line}\n" for line in content))
    if is_free:
        assert lock_holder(tmp_path) is None
        Lock.take(tmp_path).release()
        return
    assert lock_holder(tmp_path) is not None
    with pytest.raises(InUseError, match=f"if it has ended, remove {tmp_path / LOCK}"):
        Lock.take(tmp_path)


def test_with_locks_a_file_without_its_process_is_none(tmp_path):
    (tmp_path / LOCK).write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
    assert lock_holder(tmp_path) is None
    held = Lock.take(tmp_path)
    assert lock_holder(tmp_path) is not None
    with pytest.raises(InUseError, match=r"wait until it ends, stop it, or choose another folder$"):
        Lock.take(tmp_path)
    held.release()


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_again(tmp_path, monkeypatch):
    really, path, removed = fcntl.flock, tmp_path / LOCK, []

    def flock(file, operation):
        if not removed and path.exists():
            removed.append(path.unlink())
        really(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    held = Lock.take(tmp_path)
    assert removed
    assert path.exists()
    held.release()


def test_to_ask_changes_nothing_for_whoever_holds_it(tmp_path):
    held = Lock.take(tmp_path)
    before = snapshot(tmp_path)
    assert lock_holder(tmp_path) == lock_holder(tmp_path) is not None
    assert snapshot(tmp_path) == before
    held.release()
    assert lock_holder(tmp_path) is None
    assert snapshot(tmp_path) == {}
