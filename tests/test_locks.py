"""Locks that processes agree on through files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.files.locks import ByteLocks, InUse, locked


def elsewhere(path: Path, *, shared: bool = False) -> bool:
    """Whether another process can hold the lock now."""
    child = os.fork()
    if child == 0:
        try:
            with locked(path, shared=shared):
                os._exit(0)
        except InUse:
            os._exit(1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.process
def test_one_process_holds_a_lock_or_several_share_it(tmp_path: Path) -> None:
    """The folder is made for it; it is free as soon as the block ends."""
    path = tmp_path / "new" / ".lock"
    with locked(path):
        assert not elsewhere(path)
        assert not elsewhere(path, shared=True)
    with locked(path, shared=True):
        assert elsewhere(path, shared=True)
        assert not elsewhere(path)
    assert elsewhere(path)


def test_the_error_says_what_the_other_process_does(tmp_path: Path) -> None:
    """And what a user can do in its place."""
    second = locked(tmp_path / ".lock", doing="training in", instead="use --runs")
    with locked(tmp_path / ".lock"), pytest.raises(InUse) as caught, second:
        pass
    assert caught.value.what == f"Another process is training in {tmp_path}."
    assert caught.value.remedy == "Wait for it, or use --runs."


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    lock = locked(tmp_path / "file" / ".lock", instead="use --runs")
    with pytest.raises(HarnessError, match=r"file cannot be written: ") as caught, lock:
        pass
    assert caught.value.remedy == "Use --runs."


@pytest.mark.process
def test_a_byte_is_held_by_one_process(tmp_path: Path) -> None:
    """The others may hold the bytes next to it."""
    mine = ByteLocks(tmp_path / "claims")
    assert mine.take(3)
    child = os.fork()
    if child == 0:
        theirs = ByteLocks(tmp_path / "claims")
        os._exit(theirs.take(3) + 2 * theirs.take(4))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    mine.close()
    assert ByteLocks(tmp_path / "claims").take(3)
