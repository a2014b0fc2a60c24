"""The same questions from every kind of file, and every way in which a file can be wrong."""

from __future__ import annotations

import base64
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.core.errors import DataError, Exit, HarnessError, SampleError
from harness.core.types import DataOptions, SampleSet
from harness.data.rows import Row
from harness.data.schema import open_question
from tasks import scienceqa, vqaonline
from tests.hub_cache import COMMIT, cache_on_hub, without_network

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


def png(colour: str = "red") -> bytes:
    file = BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, "PNG")
    return file.getvalue()


PICTURES = {0: png("red"), 2: png("lime"), 3: png("blue")}
"""Row -> picture; row 1 has none."""


def question(number: int) -> dict[str, Any]:
    return {
        "question": f"Which one is\tno. {number}?",
        "choices": ["the first", "the  second", f"e\u0301t\u00e9 {number}"],
        "answer": number % 3,
        "hint": "Look.",
        "topic": "physics" if number % 2 else "biology",
        "lecture": "A  lecture.",
        "solution": "A solution.",
    }


QUESTIONS = [question(number) for number in range(4)]


def load(path: Path | None, *, task: Any = scienceqa, **options: Any) -> SampleSet:
    return task.load(DataOptions(path=path, **options))


def in_folder(folder: Path) -> list[str | None]:
    """The pictures as files; their names, row by row."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: list[str | None] = [None] * len(QUESTIONS)
    for at, data in PICTURES.items():
        names[at] = f"images/{at}.png"
        (folder / f"images/{at}.png").write_bytes(data)
    return names


def jsonl(folder: Path, rows: Sequence[object] | None = None, name: str = "test.jsonl") -> Path:
    names = in_folder(folder)
    if rows is None:
        rows = [{**row, "image": name} for row, name in zip(QUESTIONS, names, strict=True)]
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table() -> pa.Table:
    """The hub's own columns, pictures in the rows."""
    pictures = [
        {"bytes": PICTURES[at], "path": f"{at}.png"} if at in PICTURES else None for at in range(4)
    ]
    image = pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    columns = {name: [row[name] for row in QUESTIONS] for name in QUESTIONS[0]}
    answers = pa.array(columns.pop("answer"), pa.int8())
    return pa.table({"image": image, **columns, "answer": answers})


def as_jsonl(root: Path) -> Path:
    jsonl(root)
    return root


def as_jsonl_file(root: Path) -> Path:
    return jsonl(root, name="questions.jsonl")


def as_json_array(root: Path) -> Path:
    lines = jsonl(root).read_text().splitlines()
    (root / "test.jsonl").unlink()
    (root / "test.json").write_text("[" + ",\n".join(lines) + "]", encoding="utf-8-sig")
    return root


def as_parquet_file(root: Path) -> Path:
    pq.write_table(table(), root / "any.parquet")
    return root / "any.parquet"


def as_hub_copy(root: Path) -> Path:
    (root / "data").mkdir()
    pq.write_table(table().slice(0, 3), root / "data" / "test-00000-of-00002-ab.parquet")
    pq.write_table(table().slice(3), root / "data" / "test-00001-of-00002-cd.parquet")
    pq.write_table(table().slice(1), root / "data" / "train-00000-of-00001-ef.parquet")
    return root


def as_converted_parquet(root: Path) -> Path:
    (root / "default" / "test").mkdir(parents=True)
    pq.write_table(table(), root / "default" / "test" / "0000.parquet")
    return root


def as_binary_column(root: Path) -> Path:
    encoded = pa.array([PICTURES.get(at) for at in range(4)], pa.large_binary())
    pq.write_table(table().set_column(0, "image", encoded), root / "test.parquet")
    return root


def as_path_column(root: Path) -> Path:
    names = pa.array(in_folder(root), pa.string())
    pq.write_table(table().set_column(0, "image", names), root / "test.parquet")
    return root


def as_arrow_stream(root: Path) -> Path:
    with pa.ipc.new_stream(str(root / "science_qa-test.arrow"), table().schema) as writer:
        writer.write_table(table(), max_chunksize=3)
    return root


def as_arrow_file(root: Path) -> Path:
    with pa.ipc.new_file(str(root / "any.arrow"), table().schema) as writer:
        writer.write_table(table())
    return root / "any.arrow"


def as_saved_by_datasets(root: Path) -> Path:
    """Three shards, as `save_to_disk` writes them, pictures as the hub's own feature type."""
    from datasets import Dataset, DatasetDict
    from datasets import Image as Picture

    data = Dataset(table(), split="test").cast_column("image", Picture())
    DatasetDict({"test": data}).save_to_disk(root / "saved", num_shards={"test": 3})
    return root / "saved"


def as_one_saved_split(root: Path) -> Path:
    return as_saved_by_datasets(root) / "test"


def as_written_by_datasets(root: Path) -> Path:
    from datasets import Dataset
    from datasets import Image as Picture

    Dataset(table()).cast_column("image", Picture()).to_parquet(root / "test.parquet")
    return root


def as_tsv(root: Path, name: str = "ScienceQA_TEST.tsv", **changes: dict[int, str]) -> Path:
    """As VLMEvalKit writes it; row 3 shares the picture of row 2 in `changes` only."""
    rows = []
    for at, row in enumerate(QUESTIONS):
        picture = base64.b64encode(PICTURES[at]).decode() if at in PICTURES else ""
        cells = {
            "index": str(10 + at),
            "image": picture,
            "question": row["question"],
            "hint": row["hint"],
            **dict(zip("ABCD", [*row["choices"], ""], strict=True)),
            "answer": "ABC"[row["answer"]],
            "category": row["topic"],
            "lecture": row["lecture"],
            "solution": row["solution"],
        }
        for column, cell in changes.items():
            cells[column] = cell.get(at, cells.get(column, ""))
        rows.append(cells)
    path = root / name
    with open(path, "w", encoding="utf-8", newline="") as file:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_csv(root: Path) -> Path:
    return as_tsv(root, "questions.csv")


def as_release(root: Path, *, choice_pictures: bool = False) -> Path:
    """problems.json, pid_splits.json and images/test/PID/image.png."""
    problems = {}
    for at, row in enumerate(QUESTIONS):
        pid = str(10 + at)
        problems[pid] = {**row, "image": "image.png" if at in PICTURES else None, "split": "test"}
        folder = root / "images" / "test" / pid
        folder.mkdir(parents=True)
        if at in PICTURES:
            (folder / "image.png").write_bytes(PICTURES[at])
        if choice_pictures and at == 2:
            for choice in range(3):
                (folder / f"choice_{choice}.png").write_bytes(png("white"))
    problems["99"] = {**QUESTIONS[0], "image": None, "split": "val"}
    (root / "problems.json").write_text(json.dumps(problems), encoding="utf-8")
    splits = {"test": ["10", "11", "12", "13"], "val": ["99"], "minitest": ["12"]}
    (root / "pid_splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return root


FORMS: list[Callable[[Path], Path]] = [
    as_jsonl,
    as_jsonl_file,
    as_json_array,
    as_parquet_file,
    as_hub_copy,
    as_converted_parquet,
    as_binary_column,
    as_path_column,
    as_arrow_stream,
    as_arrow_file,
    as_saved_by_datasets,
    as_one_saved_split,
    as_written_by_datasets,
    as_tsv,
    as_csv,
    as_release,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_samples(form: Callable[[Path], Path], tmp_path: Path) -> None:
    """Text, answers, topics and the pictures' bytes do not depend on the kind of file."""
    root = tmp_path / "a folder of Ünïcode"
    root.mkdir()
    data = load(form(root))
    assert (data.total, data.filtered, data.unit) == (4, {"no image": 1}, "image questions")
    first = 10 if form.__name__ in {"as_tsv", "as_csv", "as_release"} else 0
    assert [sample.id for sample in data.samples] == [str(first + at) for at in (0, 2, 3)]
    for sample, at in zip(data.samples, (0, 2, 3), strict=True):
        assert sample.question == f"Which one is no. {at}?"
        assert sample.choices == ("the first", "the second", f"\u00e9t\u00e9 {at}")
        assert sample.target == at % 3
        assert sample.topic == ("physics" if at % 2 else "biology")
        assert (sample.context, sample.lecture) == ("Look.", "A lecture.")
        assert [image.read() for image in sample.images] == [PICTURES[at]]
    # Again, and from the back: reading a picture changes nothing for another.
    assert data.samples[2].images[0].read() == PICTURES[3]
    assert data.samples[0].images[0].read() == PICTURES[0]


def test_rows_without_an_image_are_kept_when_asked_for(tmp_path: Path) -> None:
    """They come with no pictures, and n counts questions then."""
    data = load(as_jsonl(tmp_path), text_only=True)
    assert [len(sample.images) for sample in data.samples] == [1, 0, 1, 1]
    assert (data.total, data.filtered, data.unit) == (4, {}, "questions")


@pytest.mark.parametrize("nothing", [None, "", "  ", "missing"])
def test_null_empty_and_absent_all_mean_no_image(nothing: str | None, tmp_path: Path) -> None:
    """A row without an image can say so in several ways."""
    row = {**QUESTIONS[0], "image": nothing}
    if nothing == "missing":
        del row["image"]
    data = load(jsonl(tmp_path, [row, {**QUESTIONS[0], "image": "images/0.png"}]))
    assert (len(data.samples), data.filtered) == (1, {"no image": 1})


def test_the_image_only_variant_filters_nothing(tmp_path: Path) -> None:
    """lmms-lab's ScienceQA-IMG has the same columns, and an image in every row."""
    (tmp_path / "ScienceQA-IMG").mkdir()
    rows = table().filter(table()["image"].is_valid())
    pq.write_table(rows, tmp_path / "ScienceQA-IMG" / "test-00000-of-00001.parquet")
    data = load(tmp_path)
    assert (len(data.samples), data.total, data.filtered) == (3, 3, {})


def test_two_variants_side_by_side_are_not_mixed(tmp_path: Path) -> None:
    """lmms-lab's repository has a full and an image-only variant: the user says which."""
    for name in ("ScienceQA-FULL", "ScienceQA-IMG"):
        (tmp_path / name).mkdir()
        pq.write_table(table(), tmp_path / name / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match="more than once") as caught:
        load(tmp_path)
    assert "ScienceQA-IMG/test-00000-of-00001.parquet" in str(caught.value)
    assert load(tmp_path / "ScienceQA-IMG").total == 4


def test_choice_pictures_follow_the_main_picture(tmp_path: Path) -> None:
    """A question whose options are pictures has them after its own, in the options' order."""
    data = load(as_release(tmp_path, choice_pictures=True))
    labels = [image.label for image in data.samples[1].images]
    assert labels == [
        f"images/test/12/{n}.png" for n in ("image", "choice_0", "choice_1", "choice_2")
    ]
    assert [len(sample.images) for sample in data.samples] == [1, 4, 1]


@pytest.mark.parametrize(("split", "ids"), [("minitest", ["12"]), ("val", []), ("validation", [])])
def test_the_release_has_small_splits_and_calls_validation_val(
    split: str, ids: list[str], tmp_path: Path
) -> None:
    """The splits are those of pid_splits.json; pictures stay where the question's own split is."""
    data = load(as_release(tmp_path), split=split, text_only=True)
    assert [sample.id for sample in data.samples] == (ids or ["99"])
    assert [image.read() for sample in data.samples for image in sample.images] == (
        [PICTURES[2]] if ids else []
    )


def test_image_cells_of_a_tsv_may_name_another_row(tmp_path: Path) -> None:
    """Also one further down, and over several steps."""
    path = as_tsv(tmp_path, image={0: "11", 1: "13"})
    data = load(path)
    expected = [PICTURES[3], PICTURES[3], PICTURES[2], PICTURES[3]]
    assert [sample.images[0].read() for sample in data.samples] == expected


def test_line_breaks_in_cells_do_not_shift_pictures(tmp_path: Path) -> None:
    """A quoted cell may span lines, and hold the separators that only Unicode calls so."""
    path = as_tsv(tmp_path, hint={0: "one\ntwo\r\nthree", 2: "a\u2028b\x0bc"})
    data = load(path)
    assert data.samples[0].context == "one two three"
    assert [s.images[0].read() for s in data.samples] == [PICTURES[0], PICTURES[2], PICTURES[3]]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"{base64.b64encode(png()).decode()}!", "not base64"),
        (base64.b64encode(b"no picture" * 9).decode(), "not a picture"),
    ],
)
def test_a_broken_cell_is_one_bad_sample(bad: str, reason: str, tmp_path: Path) -> None:
    """The others load and decode."""
    data = load(as_tsv(tmp_path, image={2: bad}))
    with pytest.raises(SampleError, match=reason):
        data.samples[1].images[0].decode()
    assert data.samples[2].images[0].decode().size == (6, 4)


def make_missing(path: Path) -> None:
    path.unlink()


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_text(path: Path) -> None:
    path.write_text("not a picture")


def test_a_name_too_long_for_a_file_is_an_error_of_its_sample(tmp_path: Path) -> None:
    """No file can be called so; the others load."""
    data = load(jsonl(tmp_path, [{**QUESTIONS[0], "image": "x" * 300 + ".png"}]))
    with pytest.raises(SampleError, match="File name too long"):
        data.samples[0].images[0].read()


@pytest.mark.parametrize("change", [make_missing, make_folder, make_pipe, make_text])
def test_an_unusable_picture_is_an_error_of_its_sample_only(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    """The set loads; that picture's SampleError names the file."""
    root = as_jsonl(tmp_path)
    change(root / "images" / "2.png")
    data = load(root)
    with pytest.raises(SampleError, match=r"^images/2\.png: "):
        data.samples[1].images[0].decode()
    assert data.samples[2].images[0].decode().getpixel((0, 0)) == (0, 0, 255)


def test_a_picture_in_a_parquet_row_can_be_broken_too(tmp_path: Path) -> None:
    """Its label is the file, the row and the field."""
    pictures = pa.array([b"broken", PICTURES[0], None, PICTURES[0]], pa.binary())
    pq.write_table(table().set_column(0, "image", pictures), tmp_path / "test.parquet")
    data = load(tmp_path)
    with pytest.raises(SampleError, match=r"test\.parquet, row 1, field 'image': not a picture"):
        data.samples[0].images[0].decode()


MEASURE = """
import re, sys
from pathlib import Path
import pyarrow.parquet
from harness.core.types import DataOptions
from tasks import scienceqa

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

before = peak()
data = scienceqa.load(DataOptions(path=Path(sys.argv[1])))
assert all(len(sample.images[0].read()) == 2**18 for sample in data.samples)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.process
def test_a_column_of_pictures_is_never_in_memory(tmp_path: Path) -> None:
    """A row group with 50 MiB of pictures is loaded, and every picture read, in 30 MiB."""
    columns = {name: [row[name] for row in QUESTIONS] * 50 for name in QUESTIONS[0]}
    pictures = pa.array([os.urandom(2**18) for _ in range(200)], pa.binary())
    pq.write_table(
        pa.table({"image": pictures, **columns}),
        tmp_path / "test.parquet",
        use_dictionary=False,
        write_batch_size=4,
    )
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 30


def pictures_in_parquet(root: Path) -> list[bytes]:
    pictures = [os.urandom(1000 + at) for at in range(200)]
    columns = {name: [row[name] for row in QUESTIONS] * 50 for name in QUESTIONS[0]}
    pq.write_table(pa.table({"image": pictures, **columns}), root / "test.parquet")
    return pictures


def test_pictures_are_read_from_many_threads(tmp_path: Path) -> None:
    """Readers do not move each other's place in the file."""
    pictures = pictures_in_parquet(tmp_path)
    images = [sample.images[0] for sample in load(tmp_path).samples]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda image: image.read(), images * 20)) == pictures * 20


def test_a_full_disk_is_told_from_damaged_data(tmp_path: Path) -> None:
    """The pictures of a Parquet file need room in the temporary folder."""
    pictures_in_parquet(tmp_path)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
    try:
        with pytest.raises(HarnessError, match="cannot be stored in") as caught:
            load(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert "TMPDIR" in caught.value.remedy


BAD_ROWS: list[tuple[str, dict[str, Any], str]] = [
    (
        "answer out of range",
        {"answer": 3},
        r"field 'answer': must be the right option: its place, 0 to 2.*found 3",
    ),
    ("answer negative", {"answer": -1}, r"field 'answer'.*found -1"),
    ("answer beyond the last letter", {"answer": "Z"}, r"field 'answer'.*found 'Z' \(str\)"),
    ("answer a float", {"answer": 1.0}, r"field 'answer'.*found 1.0 \(float\)"),
    ("answer true", {"answer": True}, r"field 'answer'.*found True"),
    ("answer null", {"answer": None}, r"field 'answer'.*found None"),
    ("answer missing", {"answer": ...}, r"field 'answer': missing"),
    ("question missing", {"question": ...}, r"field 'question': missing"),
    ("question empty", {"question": " \n"}, r"field 'question': must not be empty"),
    ("question a number", {"question": 7}, r"field 'question': must be text, found 7 \(int\)"),
    ("choices missing", {"choices": ...}, r"field 'choices': missing"),
    ("choices a text", {"choices": "AB"}, r"field 'choices': must be a list of 2 to 26"),
    ("one choice", {"choices": ["a"], "answer": 0}, r"field 'choices'.*2 to 26"),
    ("27 choices", {"choices": ["a"] * 27}, r"field 'choices'.*2 to 26"),
    ("a choice of the wrong type", {"choices": ["a", 2, "c"]}, r"field 'choices'.*texts"),
    ("an empty choice", {"choices": ["a", " ", "c"]}, r"field 'choices'.*empty"),
    ("hint a list", {"hint": ["x"]}, r"field 'hint': must be text"),
    ("topic a number", {"topic": 3}, r"field 'topic': must be text"),
    ("id true", {"id": True}, r"field 'id': must be text"),
    ("id empty", {"id": ""}, r"field 'id': must not be empty"),
    ("id twice", {"id": "first"}, r"field 'id': 'first' \(str\) is there twice.\nIt is first"),
    ("lone surrogate", {"question": "a\ud800"}, r"field 'question'.*surrogates"),
    ("image a number", {"image": 5}, r"field 'image': must be a path, a data address.*found 5"),
    ("image a list of numbers", {"image": [7]}, r"field 'image': must be a path.*found \[7\]"),
    ("image an object", {"image": {"size": 7}}, r"field 'image': must be a path.*found {'size"),
    ("way out in a list", {"images": ["../x"], "image": ...}, r"field 'images'.*leads out"),
    ("way out in an object", {"image": {"path": "../x"}}, r"field 'image'.*leads out"),
    ("absolute path in img", {"img": "/etc/x", "image": ...}, r"field 'img'.*is an absolute path"),
    ("absolute path", {"image": "/etc/hostname"}, r"field 'image'.*is an absolute path"),
    ("home", {"image": "~/x.png"}, r"field 'image'.*is an absolute path"),
    ("drive", {"image": "C:\\x.png"}, r"field 'image'.*is an absolute path"),
    ("way out", {"image": "../test.jsonl"}, r"field 'image'.*leads out of the data folder"),
    ("winding way out", {"image": "images/../../x"}, r"field 'image'.*leads out"),
    ("way out with backslashes", {"image": "images\\..\\..\\x"}, r"field 'image'.*leads out"),
    ("null byte", {"image": "images/\0.png"}, r"field 'image'.*is not a file name"),
    ("linked file", {"image": "images/link.png"}, r"field 'image'.*a link that leads out"),
    ("linked folder", {"image": "linked/0.png"}, r"field 'image'.*a link that leads out"),
]


@pytest.mark.parametrize(
    ("change", "message"), [b[1:] for b in BAD_ROWS], ids=[b[0] for b in BAD_ROWS]
)
def test_a_row_that_does_not_fit_is_named_with_its_field(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """File, line, field and what was found; nothing outside the folder is read."""
    root = tmp_path / "data"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0.png").write_bytes(png())
    good = {**QUESTIONS[0], "id": "first", "image": "images/0.png"}
    bad = {**QUESTIONS[0], "image": "images/0.png", **change}
    path = jsonl(root, [good, {k: v for k, v in bad.items() if v is not ...}])
    (root / "images" / "link.png").symlink_to(outside / "0.png")
    (root / "linked").symlink_to(outside)
    with pytest.raises(DataError, match=rf"^{path.name}, line 2, {message}") as caught:
        load(root)
    assert caught.value.code == Exit.MISSING


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """What stays inside may be arranged as the user likes."""
    root = as_jsonl(tmp_path / "data")
    (root / "images" / "0.png").rename(root / "picture")
    (root / "images" / "0.png").symlink_to("../picture")
    assert load(root).samples[0].images[0].read() == PICTURES[0]


BAD_FILES: list[tuple[str, str, bytes, str]] = [
    ("cut JSON", "test.jsonl", b'{"question": "x", "choi', r"test.jsonl, line 1: not valid JSON"),
    ("not UTF-8", "test.jsonl", b'{"question": "\xe9"}\n', r"line 1: not UTF-8: byte 0xe9 at"),
    (
        "no object",
        "test.jsonl",
        b"[1, 2]\n",
        r"line 1: must be an object, found \[1, 2\] \(list of 2\)",
    ),
    ("a bomb of brackets", "test.jsonl", b"[" * 100_000, r"line 1: not valid JSON"),
    ("a huge number", "test.jsonl", b'{"id": ' + b"9" * 5000 + b"}", r"line 1: not valid JSON"),
    ("no rows", "test.jsonl", b"", r"holds no rows"),
    ("blank lines", "test.jsonl", b"\n\n \n", r"holds no rows"),
    ("empty array", "test.json", b"[]", r"holds no rows"),
    ("cut array", "test.json", b'[{"question": "x"', r"test.json, object 1: not valid JSON"),
    ("array of numbers", "test.json", b"[1]", r"test.json, object 1: must be an object, found 1"),
    ("no array", "test.json", b'{"question": "x"}', r"test.json: must be a JSON array"),
    ("array not UTF-8", "test.json", b'[{"question": "\xff"}]', r"test.json: not UTF-8: byte 0xff"),
    ("no parquet", "test.parquet", b"PAR1 no", r"test.parquet cannot be read"),
    ("empty parquet", "test.parquet", b"", r"test.parquet cannot be read"),
    ("no arrow", "test.arrow", b"ARROW1 no", r"test.arrow cannot be read"),
    ("empty arrow", "test.arrow", b"", r"test.arrow cannot be read"),
    ("TSV without header", "test.tsv", b"", r"test.tsv, line 1: no column 'question'"),
    ("TSV of other columns", "test.tsv", b"a\tb\n1\t2\n", r"no column 'question'.*\n.*a, b"),
    (
        "TSV with a short row",
        "test.tsv",
        b"index\tquestion\n1\n",
        r"line 2: 1 cells, where .* has 2",
    ),
    (
        "TSV cut in a quote",
        "test.tsv",
        b'index\tquestion\n1\t"x',
        r"test.tsv, line 2: unexpected end",
    ),
    ("TSV not UTF-8", "test.tsv", b"index\tquestion\n1\t\xe9\n", r"test.tsv, line 2: not UTF-8"),
    ("TSV without rows", "test.tsv", b"index\tquestion\n", r"holds no rows"),
    ("broken state", "state.json", b"{}", r"state.json, field '_data_files'"),
    ("cut state", "state.json", b"{", r"state.json: not valid JSON"),
    (
        "state that leads out",
        "state.json",
        b'{"_data_files": [{"filename": "../../x.arrow"}]}',
        r"field 'filename'.*leads out",
    ),
    ("broken dict", "dataset_dict.json", b'{"splits": 1}', r"field 'splits': must list"),
    (
        "dict that leads out",
        "dataset_dict.json",
        b'{"splits": ["train"]}',
        r"no split 'test'.\n.*train",
    ),
    ("problems not an object", "problems.json", b"[]", r"problems.json: must be an object"),
    ("problems not UTF-8", "problems.json", b"\xff\xfe", r"problems.json: not UTF-8"),
]


@pytest.mark.parametrize(
    ("name", "data", "message"), [b[1:] for b in BAD_FILES], ids=[b[0] for b in BAD_FILES]
)
def test_a_file_that_is_no_data_is_named(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    """The message names the file and, where there is one, the row."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert caught.value.code == Exit.MISSING


def test_a_parquet_file_that_was_cut_or_damaged_is_named(tmp_path: Path) -> None:
    """Also where the damage shows only when its pages are read."""
    path = as_parquet_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"any\.parquet cannot be read"):
        load(path)
    path.write_bytes(whole[:40] + bytes(200) + whole[240:])
    with pytest.raises(DataError, match=r"any\.parquet cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"answer": {1: "Z"}},
            r"line 3, field 'answer': must be the right option: .* A to C, or its text, found 'Z'",
        ),
        ({"answer": {1: ""}}, r"line 3, field 'answer'"),
        ({"B": {1: ""}}, r"line 3, fields 'A' to 'Z'.*found A, C"),
        ({"index": {1: "10"}}, r"line 3, field 'id': '10' \(str\) is there twice"),
        ({"image": {1: "99"}}, r"line 3, field 'image': there is no row with index '99'"),
        ({"image": {1: "12", 2: "11"}}, r"line 3, field 'image': '11' \(str\) refers back"),
    ],
)
def test_a_tsv_row_that_does_not_fit_is_named(
    change: dict[str, dict[int, str]], message: str, tmp_path: Path
) -> None:
    """Letters, options without gaps, and references to rows that are there."""
    with pytest.raises(DataError, match=message):
        load(as_tsv(tmp_path, **change))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({"split": "../../.."}, r"leads out of the data folder"),
        ({"image": "/etc/passwd"}, r"is an absolute path"),
        ({"image": "../../../../x"}, r"leads out of the data folder"),
        ({"answer": 9}, r"problems.json, question '10' \(str\), field 'answer'"),
    ],
)
def test_the_release_is_checked_as_well(
    problem: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Its split and picture names are paths, too."""
    root = as_release(tmp_path)
    problems = json.loads((root / "problems.json").read_text())
    problems["10"] |= problem
    (root / "problems.json").write_text(json.dumps(problems))
    with pytest.raises(DataError, match=message):
        load(root)


def test_an_id_of_the_split_must_be_a_question(tmp_path: Path) -> None:
    """pid_splits.json and problems.json belong together."""
    root = as_release(tmp_path)
    (root / "pid_splits.json").write_text('{"test": ["10", "77"]}')
    with pytest.raises(DataError, match=r"split 'test': '77' \(str\) is no question's id"):
        load(root)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_wrong_split_lists_those_that_are_there(
    form: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Unless the file says nothing of splits: then it is whatever was asked for."""
    path = form(tmp_path)
    silent = {"as_jsonl_file", "as_parquet_file", "as_arrow_file", "as_csv"}
    if form.__name__ in silent:
        assert load(path, split="dev").total == 4
        return
    with pytest.raises(
        DataError, match=r"no split 'dev'\.\nIt has .*test.*\nChoose one with --split"
    ):
        load(path, split="dev")


def test_rows_may_say_their_split_in_one_file(tmp_path: Path) -> None:
    """Of a file whose rows have a `split`, the rows of that split count."""
    rows = [
        {**QUESTIONS[at], "id": str(at), "image": "images/0.png", "split": split}
        for at, split in enumerate(("train", "val", "test", "val"))
    ]
    path = jsonl(tmp_path, rows, "all.jsonl")
    assert [sample.id for sample in load(path, split="validation").samples] == ["1", "3"]
    assert load(path).total == 1
    with pytest.raises(DataError, match=r"no split 'dev'\.\nIt has test, train, val\."):
        load(path, split="dev")


@pytest.mark.parametrize(
    "name",
    [
        "questions.jsonl",
        "questions_.jsonl",
        "my - questions.jsonl",
        "my__questions.jsonl",
        "-.jsonl",
        "quiz (1).jsonl",
        "data/questions.jsonl",
    ],
)
@pytest.mark.parametrize("split", ["test", "mini-val", "fold_1"])
def test_the_one_file_of_a_folder_is_whichever_split_is_asked_for(
    name: str, split: str, tmp_path: Path
) -> None:
    """Its name names none, however it is written; what libraries write beside data is no data."""
    path = tmp_path / name
    jsonl(path.parent, name=path.name)
    (tmp_path / "dataset_info.json").write_text("{}")
    assert load(tmp_path, split=split).total == 4
    assert load(path, split=split).total == 4


def test_the_parts_of_one_table_are_one_split(tmp_path: Path) -> None:
    """Where their names name none; of other files only one can be the data."""
    for at in range(2):
        pq.write_table(table().slice(2 * at, 2), tmp_path / f"part-{at}.parquet")
    assert load(tmp_path).total == 4
    (tmp_path / "part-1.parquet").unlink()
    jsonl(tmp_path, name="questions.jsonl")
    with pytest.raises(DataError, match=r"no split 'test'\.\nIt has part-0, questions"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"), [("my-mini-val_2.jsonl", "mini-val"), ("Fold_1.jsonl", "fold_1")]
)
def test_a_split_of_several_words_is_found_in_a_name(name: str, split: str, tmp_path: Path) -> None:
    """Beside the file of another split."""
    jsonl(tmp_path, name=name)
    jsonl(tmp_path, name="train.jsonl")
    assert load(tmp_path, split=split).total == 4


def test_a_folder_with_nothing_known_says_what_was_looked_for(tmp_path: Path) -> None:
    """The list is what a user would have to provide."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"test\.jsonl.*\.parquet.*save_to_disk.*problems\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no such folder", "There is no file or folder"),
        ("x" * 300, "There is no file or folder"),
        ("notes.txt", "not a data file of a known"),
    ],
)
def test_a_path_that_is_no_data_is_named(name: str, message: str, tmp_path: Path) -> None:
    """Nothing there, or nothing that is known."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_a_data_file_that_is_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """A folder from elsewhere cannot point at the files of this machine."""
    jsonl(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").symlink_to(tmp_path / "elsewhere" / "test.jsonl")
    with pytest.raises(DataError, match="a link that leads out"):
        load(tmp_path / "data")


def test_no_images_at_all_gives_the_counts_and_the_way_on(tmp_path: Path) -> None:
    """The message names the fields that are there, and never advises to ask without pictures."""
    path = jsonl(tmp_path, [{**row, "figure": "images/0.png"} for row in QUESTIONS])
    with pytest.raises(DataError, match=r"^0 of 4 rows of .* have an image") as caught:
        load(path)
    assert "hint, topic, lecture, solution, figure;" in str(caught.value)
    assert "image, images, image_path, img" in str(caught.value)
    assert "Call the field that holds the pictures 'image'" in caught.value.remedy
    assert "text-only" not in str(caught.value)


def test_questions_that_are_all_asked_without_pictures_are_told(tmp_path: Path) -> None:
    """Where that was asked for: a field of another name may hold them."""
    rows = [{**row, "figure": "images/0.png"} for row in QUESTIONS]
    (note,) = load(jsonl(tmp_path, rows), text_only=True).notes
    assert note.startswith("0 of 4 rows")
    assert "solution, figure;" in note
    assert not load(jsonl(tmp_path), text_only=True).notes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question", "![](data:image/png;base64,{})"),
        ("question", "<img src='DATA:image/jpeg;base64,{}'> Which?"),
        ("hint", "{}"),
        ("choices", ["{}", "x", "y"]),
    ],
)
def test_a_picture_in_a_text_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    """It would be asked, and recorded, letter by letter; the message does not repeat it."""
    text = base64.b64encode(PICTURES[0] + bytes(2000)).decode()
    filled = json.loads(json.dumps(value).replace("{}", text))
    path = jsonl(tmp_path, [{**QUESTIONS[0], "image": "images/0.png", field: filled}])
    with pytest.raises(DataError, match=rf"field '{field}': must not hold a picture") as caught:
        load(path)
    assert len(str(caught.value)) < 300


# -- VQAonline ------------------------------------------------------------------------------------


def vqaonline_copy(root: Path) -> Path:
    """test.json, and pictures in images1 and images7, joined by file name."""
    rows = [
        {
            "image": f"{at}.png",
            "question": f"Why  {at}?",
            "context": "" if at else "Line  one\r\n\r\nline two ",
            "answer": "First\tline.\n\n Second line.",
            "topic": "ai",
            "url": "https://example.org",
        }
        for at in range(3)
    ]
    for at, folder in ((0, "images1"), (1, "images7")):
        (root / folder).mkdir(parents=True)
        (root / folder / f"{at}.png").write_bytes(png())
    (root / "test.json").write_text(json.dumps(rows))
    return root


def test_vqaonline_joins_pictures_by_name(tmp_path: Path) -> None:
    """A picture in none of the folders is an error of its sample only."""
    data = load(vqaonline_copy(tmp_path), task=vqaonline)
    assert [sample.images[0].label for sample in data.samples] == [
        "images1/0.png",
        "images7/1.png",
        "2.png",
    ]
    with pytest.raises(SampleError, match=r"2\.png: the file is missing"):
        data.samples[2].images[0].decode()


def test_vqaonline_keeps_the_lines_of_long_texts(tmp_path: Path) -> None:
    """White space is collapsed within a line, ROUGE-Lsum's lines stay."""
    sample = load(vqaonline_copy(tmp_path), task=vqaonline).samples[0]
    assert sample.question == "Why 0?"
    assert sample.context == "Line one\n\nline two"
    assert sample.target == "First line.\n\nSecond line."


def test_an_array_is_read_in_pieces(tmp_path: Path) -> None:
    """Objects that straddle the pieces, of two bytes a character, come out whole."""
    text = "\u00e9" * 700_000
    rows = [{"question": f"{at}?", "answer": text + str(at)} for at in range(5)]
    path = tmp_path / "test.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    data = load(path, task=vqaonline, text_only=True)
    assert [sample.target for sample in data.samples] == [row["answer"] for row in rows]


# -- The hub's caches -----------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the hub's libraries, without a network."""
    without_network(tmp_path, monkeypatch)
    return tmp_path


def test_scienceqa_comes_from_the_hubs_cache(offline: Path) -> None:
    """What `hf download` fetched is enough; the commit is kept."""
    (offline / "copy").mkdir()
    cache_on_hub(offline, scienceqa.REPO, as_hub_copy(offline / "copy"))
    for revision in (None, "main", COMMIT):
        data = load(None, revision=revision)
        assert (data.total, len(data.samples)) == (4, 3)
        assert (data.source, data.revision) == ("derek-thomas/ScienceQA", COMMIT)
        assert data.licence == "CC BY-NC-SA 4.0"
        assert data.samples[1].images[0].read() == PICTURES[2]


def test_scienceqa_comes_from_what_datasets_prepared(offline: Path) -> None:
    """A cache of `load_dataset` is used where the hub's own has nothing."""
    folder = offline / "datasets" / "derek-thomas___science_qa" / "default" / "0.0.0" / COMMIT
    folder.mkdir(parents=True)
    as_arrow_stream(folder)
    data = load(None)
    assert (data.total, data.revision) == (4, COMMIT)
    assert load(None, revision=COMMIT[:8]).total == 4
    with pytest.raises(DataError):
        load(None, revision="fedcba")


def test_vqaonline_comes_from_the_hubs_cache(offline: Path) -> None:
    """Its pictures are links out of the snapshot, into the cached repository's own blobs."""
    (offline / "copy").mkdir()
    snapshot = cache_on_hub(offline, vqaonline.REPO, vqaonline_copy(offline / "copy"))
    for path in (None, snapshot):
        data = load(path, task=vqaonline)
        assert [sample.images[0].label for sample in data.samples][:2] == [
            "images1/0.png",
            "images7/1.png",
        ]
        assert data.samples[1].images[0].decode().size == (6, 4)
        assert data.licence == "CC BY-SA 4.0"


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "hf download --repo-type dataset derek-thomas/ScienceQA`"),
        (
            {"revision": "v2"},
            "hf download --repo-type dataset derek-thomas/ScienceQA --revision v2`",
        ),
    ],
)
def test_what_is_not_there_offline_is_named_with_the_command_that_fetches_it(
    options: dict[str, Any], command: str, offline: Path
) -> None:
    """What was looked for, where, and how to get it."""
    with pytest.raises(DataError, match="Split 'test' of the data set derek-thomas/Sci") as caught:
        load(None, **options)
    assert command in caught.value.remedy
    assert str(offline / "hub") in caught.value.known
    assert str(offline / "datasets") in caught.value.known
    assert caught.value.code == Exit.MISSING


def test_rows_without_their_pictures_in_the_cache_are_told_from_bad_pictures(offline: Path) -> None:
    """VQAonline's JSON alone is not the data set."""
    (offline / "copy").mkdir()
    root = vqaonline_copy(offline / "copy")
    for name in ("images1", "images7"):
        shutil.rmtree(root / name)
    cache_on_hub(offline, vqaonline.REPO, root)
    with pytest.raises(DataError, match="ChongyanChen/VQAonline") as caught:
        load(None, task=vqaonline)
    assert "without the images" in caught.value.known


def test_another_split_in_the_cache_is_mentioned(offline: Path) -> None:
    """A partial download is told from none."""
    (offline / "copy").mkdir()
    cache_on_hub(offline, scienceqa.REPO, as_hub_copy(offline / "copy"))
    with pytest.raises(DataError, match="Split 'validation'") as caught:
        load(None, split="validation")
    assert "there: test, train" in caught.value.known


# -- Real questions -------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_dir(), reason="the real questions are not on this machine")
def test_real_scienceqa_questions_load_with_their_pictures() -> None:
    """100 questions; digests and sizes are those that the file itself states."""
    path = REAL / "scienceqa-real"
    data = load(path)
    assert (len(data.samples), data.total) == (100, 100)
    rows = [json.loads(line) for line in (path / "test.jsonl").read_text().splitlines()]
    for sample, row in zip(data.samples, rows, strict=True):
        assert sample.images[0].digest() == row["image_sha256"]
        assert list(sample.images[0].decode().size) == row["image_size"]
        assert sample.choices[sample.target] == " ".join(row["choices"][row["answer"]].split())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real questions are not on this machine")
def test_real_vqaonline_questions_load_as_text() -> None:
    """300 questions without pictures: only when they are asked for."""
    with pytest.raises(DataError, match="0 of 300 rows"):
        load(REAL / "vqaonline-real", task=vqaonline)
    data = load(REAL / "vqaonline-real", task=vqaonline, text_only=True)
    assert len(data.samples) == 300
    assert all(isinstance(sample.target, str) and sample.target for sample in data.samples)


@pytest.mark.parametrize(
    ("fields", "topic"),
    [
        ({"topic": "biology", "l2-category": "science", "category": "plants"}, "biology"),
        ({"l2-category": "science", "category": "plants"}, "science"),
        ({"category": "plants"}, "plants"),
        ({"topic": " ", "category": "plants"}, "plants"),
        ({}, ""),
    ],
    ids=str,
)
def test_the_topic_is_that_of_the_first_field_that_has_one(
    fields: dict[str, str], topic: str
) -> None:
    """ScienceQA's own field, then the coarser of VLMEvalKit's two: reports count by it."""
    given = {"question": "Which?", "answer": "this one", **fields}
    assert open_question(Row("test.jsonl, line 1", 0, given)).topic == topic
