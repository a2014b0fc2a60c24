"""Files and folders that are there whole or not at all, and leftovers of writers that were killed."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.files.atomic import remove_leftovers, temporary_folder, write_atomically
from harness.families.tiny import build
from harness.run.folder import RunFolder

HOST = os.uname().nodename
NOBODY = 2**22 + 1
"""Beyond the largest number of a process."""


def die_writing(path: Path) -> None:
    """Write a first piece, and be killed."""

    def pieces() -> Iterator[bytes]:
        yield b"half" * 10_000
        os._exit(9)

    write_atomically(path, pieces())


def die_building(path: Path) -> None:
    with temporary_folder(path) as aside:
        (aside / "config.json").write_text("half")
        os._exit(9)


def killed(target, path: Path) -> list[Path]:
    """What a process leaves that is killed while it writes `path`."""
    process = multiprocessing.get_context("fork").Process(target=target, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    left = [each for each in path.parent.iterdir() if each.name.startswith(f".{path.name}.")]
    assert len(left) == 1
    return left


@pytest.mark.parametrize("target", [die_writing, die_building])
@pytest.mark.process
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, target) -> None:
    """Of the same file, and of any other in the same folder."""
    for name in ("page.html", "other.html"):
        (left,) = killed(target, tmp_path / "page.html")
        write_atomically(tmp_path / name, b"whole")
        assert not left.exists()
        assert (tmp_path / name).read_bytes() == b"whole"


def test_a_writer_that_is_at_work_keeps_its_file(tmp_path: Path) -> None:
    """The lock says so, whichever process or machine it is of."""
    aside = tmp_path / ".run.json.elsewhere.7.harness.tmp"
    aside.write_bytes(b"half")
    with open(aside, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(tmp_path / "run.json", b"whole")
        assert aside.exists()
    write_atomically(tmp_path / "run.json", b"whole")
    assert not aside.exists()


def test_another_write_within_a_write_leaves_both_whole(tmp_path: Path) -> None:
    """What is written meanwhile in the same folder is no leftover."""

    def pieces() -> Iterator[bytes]:
        yield b"one "
        write_atomically(tmp_path / "second", b"second")
        with temporary_folder(tmp_path / "third") as aside:
            remove_leftovers(tmp_path)
            aside.rename(tmp_path / "third")
        yield b"two"

    write_atomically(tmp_path / "first", pieces())
    assert (tmp_path / "first").read_bytes() == b"one two"
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "third"}


def test_what_an_older_version_left_goes_too(tmp_path: Path) -> None:
    """Of the file that is written, and of a process of this machine that is no more: it held no
    lock."""
    left = {f".page.html.{HOST}.{NOBODY}.tmp", f".page.html.{HOST}.{os.getpid()}.tmp"}
    kept = {
        *(f".page.html.{HOST}.{os.getppid()}.tmp", f".page.html.elsewhere.{NOBODY}.tmp"),
        *(f".notes.{HOST}.{NOBODY}.tmp", f".page.html.{HOST}.tmp"),
    }
    for name in left | kept:
        (tmp_path / name).write_bytes(b"half")
    os.mkfifo(tmp_path / ".page.html.host.9.harness.tmp")
    write_atomically(tmp_path / "page.html", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "page.html"}


@pytest.mark.parametrize("name", ["run.json", "predictions.jsonl", "beyond-limit.jsonl"])
@pytest.mark.process
def test_whoever_holds_a_run_removes_leftovers(tmp_path: Path, name: str) -> None:
    """A whole copy of all answers, say; also where nothing is written."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (left,) = killed(die_writing, folder.path / name)
    (folder.path / f".{name}.{HOST}.{NOBODY}.tmp").write_bytes(b"an older one")
    with folder.locked():
        assert not left.exists()
        assert [path.name for path in folder.path.iterdir()] == [".lock"]


@pytest.mark.process
def test_a_checkpoint_that_is_built_again_leaves_nothing_aside(tmp_path: Path) -> None:
    """In the cache of random weights, where several may be built."""
    (left,) = killed(die_building, tmp_path / "llava-tiny")
    build("llava", tmp_path / "llava-tiny")
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["llava-tiny"]
