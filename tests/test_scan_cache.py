"""Scans of pictures are kept between runs, and never where a picture could be another one."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from harness.core.errors import SampleError
from harness.core.images import ImageRef
from harness.core.types import DataOptions, Sample
from harness.data import folder as data_folder
from harness.data.fingerprint import scan_images
from harness.synthetic import schema
from harness.synthetic.questions import questions
from tasks import load_task
from tests.drawn import draw_questions


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "harness" / "pictures"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose files are an hour old, as the cache asks for."""
    folder = tmp_path / "data"
    draw_questions(folder)
    return folder


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour has passed since the files were written."""
    clock = count(data_folder.time.time() + 3600)
    monkeypatch.setattr(data_folder.time, "time", lambda: next(clock))


def scan(data: Path | None) -> tuple[dict[str, object], int]:
    """The digests of 64 pictures, and how many pictures were read for them."""
    name = "scienceqa-mini" if data is None else "scienceqa"
    samples = load_task(name).load(DataOptions(path=data)).samples[:64]
    read: list[str] = []

    def noted(image: ImageRef) -> bytes:
        read.append(image.label)
        return image.read()

    watched = [
        replace(s, images=tuple(replace(i, read=partial(noted, i)) for i in s.images))
        for s in samples
    ]
    return dict(scan_images(watched).digests), len(read)


def test_files_are_read_once(data: Path, later: None) -> None:
    """The second scan reads none, and finds the same."""
    first, second = scan(data), scan(data)
    assert first[1] == 64
    assert second == (first[0], 0)


def test_files_of_this_moment_are_read_again(data: Path) -> None:
    """They could change once more within one tick of the clock."""
    assert [scan(data)[1] for _ in range(2)] == [64, 64]


@pytest.mark.parametrize("times", ["new", "kept"])
def test_a_changed_file_is_seen(data: Path, later: None, times: str) -> None:
    """Of the same size, whether or not its time of change was set back."""
    before, _ = scan(data)
    picture = data / "images" / "physics-03.png"
    old = picture.stat()
    content = bytearray(picture.read_bytes())
    content[-1] ^= 1
    picture.write_bytes(content)
    if times == "kept":
        os.utime(picture, ns=(old.st_atime_ns, old.st_mtime_ns))
    after, _ = scan(data)
    assert {name for name in before if before[name] != after[name]} == {"physics-03"}


def test_each_treatment_of_transparency_has_a_scan_of_its_own() -> None:
    """A picture that one makes flat is not flat by the other."""
    file = BytesIO()
    lines = Image.new(
        "RGBA", (8, 8), (0, 0, 0, 0)
    )  # black on clear ground: lost where it is dropped
    lines.putpixel((3, 3), (0, 0, 0, 255))
    lines.save(file, "PNG")
    flat = {}
    for treatment in ("blend", "drop", "blend"):
        image = ImageRef("a.png", file.getvalue, transparency=treatment, state=lambda: "1")
        scan = scan_images([Sample(id="1", question="?", target=0, images=(image,))])
        flat[treatment] = (scan.blended, scan.dropped, scan.flat)
    assert flat == {"blend": (1, 0, ()), "drop": (0, 1, ("a.png",))}


def test_a_missing_file_is_looked_for_again(data: Path, later: None) -> None:
    """Once it is there, it is read."""
    picture = data / "images" / "physics-03.png"
    content = picture.read_bytes()
    picture.unlink()
    assert scan(data)[0]["physics-03"] == ("",)
    picture.write_bytes(content)
    assert scan(data)[0]["physics-03"] != ("",)


def test_a_picture_that_cannot_be_read_is_tried_again() -> None:
    """Its file may be there and closed to us for now."""
    found: list[bytes] = []

    def read() -> bytes:
        if not found:
            raise SampleError("x.png: Permission denied")
        return found[0]

    image = ImageRef("x.png", read, state=lambda: "1")
    samples = [Sample(id="1", question="?", target=0, images=(image,))]
    assert scan_images(samples).digests == {"1": ("",)}
    found.append(b"one")
    assert scan_images(samples).digests == {"1": (sha256(b"one").hexdigest(),)}


def test_synthetic_pictures_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of the same version draws none for the fingerprint."""
    first, second = scan(None), scan(None)
    assert first[1] == 64
    assert second == (first[0], 0)
    item = questions("test")[0]
    monkeypatch.setattr(schema, "_drawing_code", lambda: "of another version")
    assert schema.drawn_from(item).startswith("of another version")
    assert scan(None)[1] == 64


@pytest.mark.parametrize("content", [b"", b"[]", b"[[1, 2]]", b"\xff", b'{"a": 1}'])
def test_a_broken_cache_is_no_obstacle(own_cache: Path, content: bytes) -> None:
    """What cannot be a scan is none; nor is a folder that cannot be made."""
    image = ImageRef("a.png", lambda: b"one", state=lambda: "1")
    samples = [Sample(id="1", question="?", target=0, images=(image,))]
    digests = scan_images(samples).digests
    (kept,) = own_cache.iterdir()
    kept.write_bytes(content)
    assert scan_images(samples).digests == digests
    kept.unlink()
    own_cache.rmdir()
    own_cache.write_bytes(b"")
    assert scan_images(samples).digests == digests


def test_the_cache_stays_small(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest scans are removed."""
    monkeypatch.setattr("harness.data.scan_cache._MAX_KEPT", 3)
    for number in range(5):
        image = ImageRef("a.png", str(number).encode, state=partial(str, number))
        scan_images([Sample(id="1", question="?", target=0, images=(image,))])
    assert len(list(own_cache.iterdir())) == 3
