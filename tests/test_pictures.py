"""Pictures wherever a row can hold them: fields of other names, lists, objects, and base64; names
from other systems; small files of large pictures."""

from __future__ import annotations

import base64
import csv
import json
import math
import os
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.core.errors import DataError, SampleError
from harness.core.types import DataOptions, Sample
from harness.data.image_store import ImageStore
from harness.data.pictures import Encoded, Name, parts_of, picture_fields
from tasks import scienceqa


def encoded(colour: str, form: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, form)
    return file.getvalue()


RED, BLUE = encoded("red"), encoded("blue")
RED_64 = base64.b64encode(RED).decode()
RED_ADDRESS = f"data:image/png;base64,{RED_64}"
TEXTS = {"question": "Which?", "choices": ["x", "y"], "answer": 1}


def load(path: Path, **options: Any) -> Sequence[Sample]:
    return scienceqa.load(DataOptions(path=path, **options)).samples


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ("id image image_path", [["image"], ["image_path"]]),
        ("image_path images image", [["image"], ["images"], ["image_path"]]),
        ("img", [["img"]]),
        ("IMG", [["IMG"]]),
        ("Image", [["Image"]]),
        ("imagePath", [["imagePath"]]),
        ("image-file", [["image-file"]]),
        ("picture photo", [["picture"], ["photo"]]),
        ("img_b64 image_base64", [["img_b64"], ["image_base64"]]),
        ("decoded_image", [["decoded_image"]]),
        ("image_10 image_2 image_1", [["image_1", "image_2", "image_10"]]),
        ("image2 image1", [["image1", "image2"]]),
        ("image_1_path image_2_path", [["image_1_path", "image_2_path"]]),
        ("question_image", [["question_image"]]),
        ("file_name", [["file_name"]]),
        ("image_url", [["image_url"]]),
        ("image image_url image_name", [["image"]]),
        ("image_id image_size image_sha256 n_choice_images imagination has_image", []),
        ("answer_image solution_image choice_images", []),
    ],
)
def test_fields_that_can_hold_pictures(names: str, groups: list[list[str]]) -> None:
    """In the order in which they count; what only describes a picture, or answers, holds none."""
    assert [list(group) for group in picture_fields(tuple(names.split()))] == groups


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        (" ", []),
        ([], []),
        ([None, ""], []),
        ({"bytes": None, "path": None}, []),
        ({}, []),
        (math.nan, []),
        ("nan", []),
        ("None", []),
        (" a.png ", ["a.png"]),
        (["a.png", "b.png"], ["a.png", "b.png"]),
        ({"path": "a.png"}, ["a.png"]),
        ({"bytes": None, "path": "a.png"}, ["a.png"]),
        ([{"path": "a.png"}, {"file_name": "b.png"}], ["a.png", "b.png"]),
        ('["a.png", "b.png"]', ["a.png", "b.png"]),
        ("['a.png']", ["a.png"]),
        ('{"path": "a.png"}', ["a.png"]),
        ("[1].png", ["[1].png"]),
        ("[not a list]", ["[not a list]"]),
        ("images/" + "0123456789abcdef" * 4, ["images/" + "0123456789abcdef" * 4]),
        (RED, [RED]),
        (memoryview(RED), [RED]),
        (b"P3 2 1 255 " + b"1 2 3 4 5 6 " * 9, [b"P3 2 1 255 " + b"1 2 3 4 5 6 " * 9]),
        ({"bytes": RED, "path": "a.png"}, [RED]),
        ({"bytes": RED_64}, [RED]),
        ({"bytes": list(RED)}, [RED]),
        (str({"bytes": RED, "path": None}), [RED]),
        (json.dumps([RED_64]), [RED]),
        (RED_64, [RED]),
        (RED_64.encode(), [RED]),
        (str(RED_64.encode()), [RED]),
        (str(RED), [RED]),
        (RED_ADDRESS.encode(), [RED]),
        ("\n".join([RED_64[:60], RED_64[60:]]), [RED]),
        (RED_64.rstrip("="), [RED]),
        (base64.urlsafe_b64encode(encoded("lime", "BMP")).decode(), [encoded("lime", "BMP")]),
        (base64.b64encode(encoded("red", "JPEG")).decode(), [encoded("red", "JPEG")]),
        (base64.b64encode(encoded("red", "GIF")).decode(), [encoded("red", "GIF")]),
        (base64.b64encode(encoded("red", "WEBP")).decode(), [encoded("red", "WEBP")]),
        (base64.b64encode(encoded("red", "TIFF")).decode(), [encoded("red", "TIFF")]),
        (RED_ADDRESS, [RED]),
        (RED_ADDRESS.replace("data:", "DATA:").replace(";base64", ";charset=x;BASE64"), [RED]),
        (RED_ADDRESS.replace("+", "%2B").replace("=", "%3D"), [RED]),
        ("data:image/png," + "".join(f"%{byte:02x}" for byte in RED), [RED]),
        ({"type": "image_url", "image_url": {"url": RED_ADDRESS}}, [RED]),
        ([RED_ADDRESS, {"bytes": BLUE}, "a.png"], [RED, BLUE, "a.png"]),
    ],
)
def test_what_a_value_stands_for(value: object, names: list[str | bytes]) -> None:
    """Names of files, and pictures that are written out, in lists and objects and in their text."""
    parts = parts_of(value, where="x", key="image")
    assert [part.path if isinstance(part, Name) else part.data() for part in parts] == names


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("data:image/png;base64", "it has no comma"),
        (RED_ADDRESS + "!", "not base64"),
        ("data:image/png;base64,abcde", "not base64"),
        ("data:image/png;base64,\u00e9\u00e9\u00e9\u00e9", "not base64"),
        (RED_64 + "!", "not base64"),
        ("!" * 5000, "not base64"),
    ],
)
def test_what_is_no_base64_says_so(value: str, reason: str) -> None:
    """Without itself being repeated."""
    (part,) = parts_of(value, where="x", key="image")
    assert isinstance(part, Encoded)
    with pytest.raises(ValueError, match=reason) as caught:
        part.data()
    assert len(str(caught.value)) < 120


# -- Every kind of file ---------------------------------------------------------------------------


def as_jsonl(root: Path, rows: list[dict[str, Any]]) -> Path:
    path = root / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_json(root: Path, rows: list[dict[str, Any]]) -> Path:
    (root / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    return root


def as_csv(root: Path, rows: list[dict[str, Any]], name: str = "test.csv") -> Path:
    plain = [{"A": "x", "B": "y", "answer": "B", **row} for row in rows]
    for row in plain:
        row.pop("choices", None)
        row["answer"] = "B"
    with open(root / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(plain[0]), delimiter="\t" if "tsv" in name else ",")
        writer.writeheader()
        writer.writerows(plain)
    return root / name


def as_tsv(root: Path, rows: list[dict[str, Any]]) -> Path:
    return as_csv(root, rows, "test.tsv")


def as_parquet(root: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), root / "test.parquet")
    return root


def as_arrow(root: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(root / "test.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return root


Form = Callable[[Path, list[dict[str, Any]]], Path]
FORMS: list[Form] = [as_jsonl, as_json, as_csv, as_tsv, as_parquet, as_arrow]
TABLES: list[Form] = [as_parquet, as_arrow]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "row",
    [
        {"image": "red.png"},
        {"images": ["red.png"]},
        {"image_path": "red.png"},
        {"img": "sub/../red.png".replace("sub/../", "./")},
        {"image_1": "red.png", "image_2": None},
        {"image": None, "image_path": "red.png"},
        {"picture": {"path": "red.png"}},
        {"image": {"bytes": None, "path": "red.png"}},
        {"image": RED_64},
        {"image": RED_ADDRESS},
        {"images": [RED_ADDRESS]},
        {"image": {"bytes": RED_64, "path": "blue.png"}},
    ],
    ids=lambda row: str(row)[:40],
)
def test_a_picture_is_found_in_every_kind_of_file(
    form: Form, row: dict[str, Any], tmp_path: Path
) -> None:
    """Under another name, in a list, in an object, or written out."""
    (tmp_path / "red.png").write_bytes(RED)
    (sample,) = load(form(tmp_path, [{**TEXTS, **row}]))
    assert [image.read() for image in sample.images] == [RED]
    assert len(sample.images[0].label) < 60


@pytest.mark.parametrize("form", TABLES, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "value",
    [RED, [RED], [{"bytes": RED, "path": "x.png"}], {"bytes": RED, "path": None}],
    ids=lambda value: type(value).__name__,
)
def test_tables_hold_bytes_in_every_way(form: Form, value: object, tmp_path: Path) -> None:
    """Alone, in lists, and as the hub's libraries write them."""
    rows = [{**TEXTS, "images": value}, {**TEXTS, "images": None}]
    (sample,) = load(form(tmp_path, rows))
    assert [image.read() for image in sample.images] == [RED]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_several_pictures_keep_their_order(form: Form, tmp_path: Path) -> None:
    """Those of a list, and those of numbered fields."""
    (tmp_path / "blue.png").write_bytes(BLUE)
    rows = [
        {**TEXTS, "images": [RED_64, "blue.png"], "image_1": None, "image_2": None},
        {**TEXTS, "images": None, "image_1": RED_ADDRESS, "image_2": "blue.png"},
    ]
    samples = load(form(tmp_path, rows))
    assert [[image.read() for image in s.images] for s in samples] == [[RED, BLUE]] * 2
    assert samples[0].images[0].label.endswith(", field 'images', picture 1")


def test_an_empty_cell_of_a_file_without_indices_is_no_reference(tmp_path: Path) -> None:
    """It does not show the picture of the last row."""
    rows = [{**TEXTS, "image": ""}, {**TEXTS, "image": RED_64}]
    samples = load(as_csv(tmp_path, rows), text_only=True)
    assert [len(sample.images) for sample in samples] == [0, 1]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_nothing_is_fetched_from_an_address(form: Form, tmp_path: Path) -> None:
    """The sample fails, with a reason; also for a file's address."""
    for address in ("https://example.org/a.png", "file:///etc/hostname"):
        (sample,) = load(form(tmp_path, [{**TEXTS, "image": address}]))
        with pytest.raises(SampleError, match=rf"^{address}: nothing is fetched"):
            sample.images[0].read()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "picture",
    [
        "data:image/png;base64," + "QUJD" * 20_000 + "!",
        base64.b64encode(b"no picture" * 5_000).decode(),
        "x" * 3000 + ".png",
        "https://example.org/" + "y" * 3000,
    ],
    ids=["address", "base64", "name", "web"],
)
def test_no_message_holds_a_picture(form: Form, picture: str, tmp_path: Path) -> None:
    """Neither its own error nor the name that a record would keep."""
    (sample,) = load(form(tmp_path, [{**TEXTS, "image": picture}]))
    with pytest.raises(SampleError) as caught:
        sample.images[0].decode()
    assert len(str(caught.value)) < 300
    assert len(sample.images[0].label) < 200


# -- Names from other systems ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("images/\u00e9t\u00e9.png", unicodedata.normalize("NFD", "images/\u00e9t\u00e9.png")),
        (unicodedata.normalize("NFD", "images/\u00e9t\u00e9.png"), "images/\u00e9t\u00e9.png"),
        (unicodedata.normalize("NFD", "\u00e9/\u1e69.png"), "\u00e9/\u1e69.png"),
        ("images/\uac01.png", unicodedata.normalize("NFD", "images/\uac01.png")),
        ("images/sub/a.png", "images\\sub\\a.png"),
        ("images/sub/a.png", ".\\images\\sub/a.png"),
        ("images/A.PNG", "images/a.png"),
        ("Images/a.png", "images\\A.png"),
        ("a.png", " a.png\n"),
        ("images/a.png", "a.png"),
        ("images3/\u00e9.png", unicodedata.normalize("NFD", "\u00e9.png")),
        ("a\\b.png", "a\\b.png"),
        ("my pictures/\u00e9.png", "my%20pictures/%C3%A9.png"),
        ("100%25.png", "100%25.png"),
    ],
)
def test_a_name_from_another_system_finds_its_file(
    there: str, written: str, tmp_path: Path
) -> None:
    """Letters taken apart, backslashes, capitals, white space."""
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(RED)
    (sample,) = load(as_jsonl(tmp_path, [{**TEXTS, "image": written}]))
    assert sample.images[0].read() == RED


def test_a_name_that_could_be_two_files_is_neither(tmp_path: Path) -> None:
    """Unless one of them differs in nothing but how its letters are composed."""
    (tmp_path / "a.PNG").write_bytes(RED)
    (tmp_path / "A.png").write_bytes(BLUE)
    (sample,) = load(as_jsonl(tmp_path, [{**TEXTS, "image": "a.png"}]))
    with pytest.raises(SampleError, match=r"^a\.png: the file is missing"):
        sample.images[0].read()


@pytest.mark.parametrize("name", ["%2e%2e/secret.png", "images%2f..%2f..%2fsecret.png"])
def test_no_spelling_leads_out(name: str, tmp_path: Path) -> None:
    """Dots that are written as an address writes them lead nowhere."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(RED)
    (sample,) = load(as_jsonl(root, [{**TEXTS, "image": name}]))
    with pytest.raises(SampleError, match="the file is missing"):
        sample.images[0].read()


def test_a_link_that_leads_out_is_not_followed_under_another_spelling(tmp_path: Path) -> None:
    """What is found in a listing is checked as what is named."""
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(RED)
    (root / "Link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="a link that leads out"):
        load(as_jsonl(root, [{**TEXTS, "image": "link.png"}]))


# -- Small files of large pictures ----------------------------------------------------------------


def in_spool(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[[], int]:
    """The bytes of every temporary file that is made from now on."""
    files: list[Any] = []
    make = tempfile.TemporaryFile

    def made(*arguments: Any, **options: Any) -> Any:
        files.append(make(*arguments, dir=folder, **options))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", made)
    return lambda: sum(os.fstat(file.fileno()).st_size for file in files)


@pytest.mark.parametrize("same", [True, False])
def test_a_small_table_never_fills_the_disk(
    same: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Equal pictures are kept once; what is more than the file has is packed again."""
    size = in_spool(monkeypatch, tmp_path)
    monkeypatch.setattr("harness.data.image_store._PLAIN", 2**20)
    large = [RED + bytes(2**20 - at * (not same)) for at in range(12)]
    path = tmp_path / "test.parquet"
    pq.write_table(
        pa.table({**{name: [value] * 12 for name, value in TEXTS.items()}, "image": large}),
        path,
        compression="zstd",
    )
    assert path.stat().st_size < 2**16
    samples = load(path)
    assert [sample.images[0].read() for sample in samples] == large
    assert size() < 3 * 2**20


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_picture_too_large_is_an_error_of_its_sample(
    form: Form, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However it is kept: a file of that size is refused as well."""
    monkeypatch.setattr("harness.data.pictures.MAX_IMAGE_BYTES", len(RED) + 10)
    large = base64.b64encode(RED + bytes(11)).decode()
    samples = load(form(tmp_path, [{**TEXTS, "image": large}, {**TEXTS, "image": RED_64}]))
    with pytest.raises(SampleError, match="bytes are too many for a picture"):
        samples[0].images[0].read()
    assert samples[1].images[0].read() == RED


def test_packed_pictures_are_read_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that cannot be packed stay as they are."""
    monkeypatch.setattr("harness.data.image_store._PLAIN", 0)
    pictures = [bytes(5000), os.urandom(5000), b"", RED]
    store = ImageStore(0)
    readers = [store.keep(picture) for picture in pictures]
    assert [read() for read in readers] == pictures
    assert store.keep(bytes(5000)) is readers[0]


@pytest.mark.parametrize("length", [0, 100, 1000])
def test_an_arrow_file_that_is_cut_after_loading_costs_nothing(length: int, tmp_path: Path) -> None:
    """It is not mapped: a process that reads a map beyond a file's end is killed."""
    rows = [{**TEXTS, "image": {"bytes": encoded(c), "path": None}} for c in ("red", "blue")]
    samples = load(as_arrow(tmp_path, rows))
    os.truncate(tmp_path / "test.arrow", length)
    assert [sample.images[0].read() for sample in samples] == [RED, BLUE]
    with pytest.raises(DataError, match=r"test\.arrow"):
        load(tmp_path)


# -- Transparency ---------------------------------------------------------------------------------


def clear() -> bytes:
    file = BytesIO()
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(file, "PNG")
    return file.getvalue()


OWN = dict.fromkeys(scienceqa.OWN_FIELDS, "x")


def as_release(root: Path, rows: list[dict[str, Any]]) -> Path:
    (root / "images" / "test" / "1").mkdir(parents=True)
    (root / "images" / "test" / "1" / "image.png").write_bytes(rows[0]["image"]["bytes"])
    problem = {**rows[0], "image": "image.png", "split": "test"}
    (root / "problems.json").write_text(json.dumps({"1": problem}))
    return root


def as_jsonl_with_bytes(root: Path, rows: list[dict[str, Any]]) -> Path:
    text = base64.b64encode(rows[0]["image"]["bytes"]).decode()
    return as_jsonl(root, [{**rows[0], "image": text}])


@pytest.mark.parametrize(
    ("form", "own", "colour"),
    [
        (as_parquet, {}, 255),
        (as_parquet, OWN, 0),
        (as_arrow, OWN, 0),
        (as_release, OWN, 0),
        (as_jsonl_with_bytes, OWN, 255),
    ],
)
def test_only_the_published_questions_keep_the_papers_way(
    form: Form, own: dict[str, Any], colour: int, tmp_path: Path
) -> None:
    """Transparency is dropped in ScienceQA as it was published, and blended on white elsewhere,
    also in drawn questions that somebody has put other pictures to."""
    (sample,) = load(form(tmp_path, [{**TEXTS, **own, "image": {"bytes": clear(), "path": None}}]))
    assert sample.images[0].decode().getpixel((0, 0)) == (colour,) * 3
