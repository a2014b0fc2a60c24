"""JSONL files of ours: what a cut line, a broken line and a file from elsewhere become."""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from harness.core.errors import DataError
from harness.core.files.json_files import load_json, read_json, write_json
from harness.core.files.jsonl import (
    Appender,
    append_lines,
    cut_after,
    encode_line,
    read_jsonl,
    read_objects,
    readable_objects,
    replace_lines,
    whole_lines,
)


@pytest.mark.parametrize("cut", [b"", b"x", b"x" * 200_000])
def test_appending_removes_a_cut_line(tmp_path: Path, cut: bytes) -> None:
    """However long it is, and also where it is the first."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(cut)
    append_lines(path, map(encode_line, [{"n": 1}]))
    with open(path, "ab") as file:
        file.write(cut)
    append_lines(path, map(encode_line, [{"n": 2}, {"n": "\u2028\ud800"}]))
    assert read_objects(path) == [{"n": 1}, {"n": 2}, {"n": "\u2028\ud800"}]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The line that was cut by it is gone with the next one."""
    path = tmp_path / "log.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match=r"log\.jsonl"):
            append_lines(path, map(encode_line, [{"n": 1}, {"n": 2}]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append_lines(path, map(encode_line, [{"n": 3}]))
    assert read_objects(path)[-1] == {"n": 3}


def test_an_appender_keeps_its_file_open_and_reports_its_size(tmp_path: Path) -> None:
    """A file that is replaced meanwhile gets nothing: its owner compares the two states."""
    path = tmp_path / "log.jsonl"
    appender = Appender(path)
    assert appender.append([b"{}\n"]).st_size == 3
    path.rename(tmp_path / "moved.jsonl")
    path.write_bytes(b"another\n")
    found = appender.append([b"{}\n"])
    assert not os.path.samestat(found, path.stat())
    assert (tmp_path / "moved.jsonl").read_bytes() == b"{}\n{}\n"
    appender.close()
    appender.append([b"{}\n"])
    appender.close()
    assert path.read_bytes() == b"another\n{}\n"


def test_who_appends_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is in the file at once; `sync` and `close` wait until the disk has it, and one call
    of the disk serves all lines that wait for it. What the disk refuses is raised, with the file."""
    path, disk, calls = tmp_path / "log.jsonl", threading.Event(), []

    def fsync(number: int) -> None:
        calls.append(number)
        disk.wait(10)

    monkeypatch.setattr(os, "fsync", fsync)
    appender = Appender(path)
    for number in range(5):
        appender.append([encode_line({"n": number})])
    assert len(read_objects(path)) == 5
    assert not disk.is_set()
    disk.set()
    appender.sync()
    assert len(calls) <= 2

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    appender.append([b"{}\n"])
    with pytest.raises(OSError, match=r"log\.jsonl"):
        appender.sync()
    appender.append([b"{}\n"])
    with pytest.raises(OSError, match=r"log\.jsonl"):
        appender.close()


def test_a_line_is_read_once_it_has_its_line_feed(tmp_path: Path) -> None:
    """Whoever reads from where the last line ended sees each line once."""
    path = tmp_path / "log.jsonl"
    assert list(whole_lines(path)) == []
    path.write_bytes(b'{"n": 1}\n{"n": 2')
    (first,) = whole_lines(path)
    assert (first.number, first.data, first.end) == (1, b'{"n": 1}\n', 9)
    with open(path, "ab") as file:
        file.write(b"}\n")
    (second,) = whole_lines(path, start=first.end)
    assert (second.data, second.end) == (b'{"n": 2}\n', 18)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "line 2 is not a thing: .*delimiter|line 2 is not a thing: .*property name"),
        (b"[1]", "line 2 is not a thing: not an object"),
        (b"", "line 2 is not a thing"),
        (b'{"n": NaN}', "line 2 is not a thing: NaN is not JSON"),
        (b"\xff", "line 2 is not a thing"),
        (b"[" * 100_000, "line 2 is not a thing: nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes, problem: str) -> None:
    """To use it, it must be right; to show what there is, the others are enough."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 3}\n')
    with pytest.raises(DataError, match=problem) as caught:
        read_objects(path, kind="a thing")
    assert "--fresh" in caught.value.remedy
    assert readable_objects(path) == [{"n": 1}, {"n": 3}]


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    """Whatever makes something of a line says what is wrong with it."""
    path = tmp_path / "log.jsonl"
    append_lines(path, map(encode_line, [{"n": 1}, {"m": 2}]))
    with pytest.raises(DataError, match=r"log\.jsonl, line 2 is not a thing: field 'n' is missing"):
        list(read_jsonl(path, lambda row: row["n"], kind="a thing"))


def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder, a link out of the folder: each reader and the writer say so."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "out.jsonl").write_bytes(b"{}\n")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out.jsonl")
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "in" / "link"):
        for use in (
            lambda path=path: read_objects(path),
            lambda path=path: append_lines(path, [b"{}\n"]),
            lambda path=path: read_json(path),
        ):
            with pytest.raises(DataError, match="cannot be read: it is "):
                use()
        assert readable_objects(path) == []
    assert (tmp_path / "out.jsonl").read_bytes() == b"{}\n"


def test_equal_lines_leave_a_file_alone(tmp_path: Path) -> None:
    """Others are put in their place at once."""
    path = tmp_path / "log.jsonl"
    replace_lines(path, [b"1\n", b"2\n"])
    before = path.stat()
    replace_lines(path, [b"1\n", b"2\n"])
    assert os.path.samestat(before, path.stat())
    replace_lines(path, [b"3\n"])
    assert path.read_bytes() == b"3\n"
    cut_after(path, 1)
    assert path.read_bytes() == b"3"
    cut_after(path, 5)
    assert path.read_bytes() == b"3"
    cut_after(tmp_path / "none", 5)
    assert not (tmp_path / "none").exists()


def test_a_json_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What JSON does not have is null, and half a pair of surrogates does not end the write."""
    path = tmp_path / "sub" / "x.json"
    write_json(path, {"a": [float("nan"), "\u2028"], "b": "\ud800"})
    assert load_json(path) == {"a": [None, "\u2028"], "b": "\ud800"}
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        read_json(path, remedy="Move it.")
    assert caught.value.remedy == "Move it."
    path.write_bytes(b"{")
    with pytest.raises(DataError, match="is not JSON"):
        read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")
