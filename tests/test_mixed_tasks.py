"""MMMU, MathVista and BLINK: repositories in parts, pictures among the words, options in some
questions and written answers in others; and answers that were made elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import harness
from harness.core.errors import DataError, HarnessError, SampleError
from harness.core.image_marks import IMAGE_MARK as MARK
from harness.core.types import DataOptions, Output, Prediction, Sample, SampleSet
from harness.extract import extract_choice
from harness.extract.values import extract_value
from harness.metrics.mathvista import nearest_option, values_match
from harness.metrics.mmmu import answers_match, option_of
from harness.run.answers_file import score_file
from harness.run.conclusions import conclude
from harness.run.folder import RunFolder
from harness.run.rescoring import rescore
from harness.run.task_data import Data
from tasks import blink, load_task, mmmu
from tests.hub_cache import COMMIT, cache_on_hub, without_network

COLOURS = ("red", "green", "blue", "white")


def picture(colour: str = "red") -> dict[str, object]:
    data = BytesIO()
    Image.new("RGB", (6, 4), colour).save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


def college(subject: str = "Art", number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of MMMU, in its own columns."""
    pictures = {f"image_{place}": None for place in range(1, 8)}
    return {
        "id": f"validation_{subject}_{number}",
        "question": "Who made\n<image 2> after <image 1>?",
        "options": "['<image 1>', \"the other's\", '$x$']",
        "explanation": "",
        **pictures,
        "image_1": picture("red"),
        "image_2": picture("green"),
        "img_type": "['Paintings']",
        "answer": "B",
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": "Drawing",
        **changes,
    }


WRITTEN = {
    "question": "How many are in <image 1>?",
    "options": "[]",
    "answer": "['24/7', '3.429']",
    "question_type": "open",
    "image_2": None,
}


def glance(task: str = "Jigsaw", number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of BLINK."""
    return {
        "idx": f"val_{task}_{number}",
        "question": "Which one fits?",
        "sub_task": task,
        "image_1": picture("red"),
        "image_2": picture("green"),
        "image_3": picture("blue"),
        "image_4": None,
        "choices": ["the second image", "the third image"],
        "answer": "(B)",
        "prompt": "Given the first image, which one fits?\nSelect from the following choices.\n"
        "(A) the second image\n(B) the third image\n",
        "explanation": "",
        **changes,
    }


def figure(**changes: Any) -> dict[str, Any]:
    """A row of MathVista."""
    return {
        "pid": "1",
        "question": "What is the gap?",
        "image": "images/1.jpg",
        "decoded_image": picture("blue"),
        "choices": None,
        "unit": "years",
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "metadata": {"category": "math-targeted-vqa", "task": "geometry problem solving"},
        "query": "Hint: ...",
        **changes,
    }


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A table of these rows, as Parquet or Arrow; pictures have the hub's type."""
    table = pa.Table.from_pylist([dict(row) for row in rows])
    for place, column in enumerate(table.column_names):
        if pa.types.is_null(table.schema.field(place).type) and "image" in column:
            kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            table = table.set_column(place, column, pa.nulls(len(table), kind))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    return path


def loaded(task: str, **options: Any) -> SampleSet:
    return Data(load_task(task), DataOptions(**options)).samples


def only(task: str, path: Path, row: Mapping[str, Any], split: str) -> Sample:
    written(path / f"{split}.parquet", [row])
    (sample,) = loaded(task, path=path).samples
    return sample


def in_parts(folder: Path, task: str, names: Sequence[str]) -> Path:
    """A repository with a row for each of its parts."""
    for name in names:
        row = college(name) if task == "mmmu" else glance(name)
        split = "validation" if task == "mmmu" else "val"
        written(folder / name / f"{split}-00000-of-00001.parquet", [row])
    return folder


PARTS = [("mmmu", "MMMU/MMMU", mmmu.SUBJECTS), ("blink", "BLINK-Benchmark/BLINK", blink.TASKS)]


@pytest.mark.parametrize(("task", "repo", "names"), PARTS, ids=["mmmu", "blink"])
def test_a_repository_in_parts_is_one_split(
    task: str,
    repo: str,
    names: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the hub's cache, whose parts are the topics; one that is missing is named."""
    without_network(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=rf"Configuration '{names[0]}' of split '.*{repo}.*fetched"):
        loaded(task)
    snapshot = cache_on_hub(tmp_path, repo, in_parts(tmp_path / "copy", task, names))
    made = loaded(task)
    assert [sample.topic for sample in made.samples] == list(names)
    assert (made.source, made.revision, made.total) == (repo, COMMIT, len(names))
    assert made.licence == "Apache-2.0"
    next((snapshot / names[3]).iterdir()).unlink()
    with pytest.raises(DataError, match=f"Configuration '{names[3]}' of split"):
        loaded(task)


def test_a_folder_with_some_parts_is_read_for_these(tmp_path: Path) -> None:
    """As Parquet, Arrow or JSONL; ids that come twice are refused."""
    in_parts(tmp_path, "mmmu", ["Art", "Music"])
    written(tmp_path / "Math" / "mmmu-validation.arrow", [college("Math")])
    (tmp_path / "Design").mkdir()
    row = {**college("Design"), "image_1": "a.png", "image_2": "b.png"}
    (tmp_path / "Design" / "validation.jsonl").write_text(json.dumps(row) + "\n")
    made = loaded("mmmu", path=tmp_path)
    assert [sample.topic for sample in made.samples] == ["Art", "Design", "Math", "Music"]
    written(tmp_path / "Math" / "mmmu-validation.arrow", [college("Art")])
    with pytest.raises(DataError, match=r"Math: mmmu-validation\.arrow, row 1, field 'id'"):
        loaded("mmmu", path=tmp_path)


@pytest.mark.parametrize("repo", ["lmms-lab/MMMU", "lmms-lab-encoder/MMMU"])
def test_the_copy_in_one_table_is_read_too(
    repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subjects are in the ids."""
    without_network(tmp_path, monkeypatch)
    file = tmp_path / "copy" / "data" / "validation-00000-of-00001.parquet"
    written(file, [college("Art_Theory"), college("Music", 2, **WRITTEN)])
    cache_on_hub(tmp_path, repo, tmp_path / "copy")
    made = loaded("mmmu")
    assert [sample.topic for sample in made.samples] == ["Art_Theory", "Music"]
    assert made.source == repo


def test_what_datasets_prepared_is_read_by_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONFIGURATION/VERSION/COMMIT in the cache of the library `datasets`."""
    without_network(tmp_path, monkeypatch)
    from datasets.naming import camelcase_to_snakecase

    home = tmp_path / "datasets" / f"BLINK-Benchmark___{camelcase_to_snakecase('BLINK')}"
    for name in blink.TASKS:
        written(home / name / "0.0.0" / COMMIT / "blink-val.arrow", [glance(name)])
    assert [sample.topic for sample in loaded("blink").samples] == list(blink.TASKS)


def test_pictures_stand_where_mmmu_names_them(tmp_path: Path) -> None:
    """In question and options, in the order of the text; lines and the text of a list are kept."""
    sample = only("mmmu", tmp_path, college(), "validation")
    assert sample.choices == ("<image 1>", "the other's", "$x$")
    assert (sample.target, sample.topic) == (1, "Art")
    prompt = load_task("mmmu").prompt(sample, "direct")
    assert prompt.text == (
        f"Who made\n{MARK} after {MARK}?\n(A) <image 2>\n(B) the other's\n(C) $x$"
    )
    assert prompt.instruction == "Answer with the option's letter from the given choices directly."
    assert [image.getpixel((0, 0)) for image in prompt.images] == [(0, 128, 0), (255, 0, 0)]
    options = only(
        "mmmu",
        tmp_path,
        college(question="Which?", options="['<image 2>', '<image 1>']"),
        "validation",
    )
    assert load_task("mmmu").prompt(options, "plain").text == f"Which?\n(A) {MARK}\n(B) {MARK}"


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Numbers are those of the columns, also where one between them is empty."""
    sample = only("mmmu", tmp_path, college(question="In <image 3>?"), "validation")
    with pytest.raises(SampleError, match="names <image 3>, which is not there; it has <image 1>"):
        load_task("mmmu").prompt(sample, "direct")
    gap = college(question="In <image 3>?", image_2=None, image_3=picture("white"))
    sample = only("mmmu", tmp_path, gap, "validation")
    prompt = load_task("mmmu").prompt(sample, "direct")
    assert [image.getpixel((0, 0)) for image in prompt.images] == [(255, 255, 255), (255, 0, 0)]


def test_a_list_of_pictures_is_numbered_by_its_order(tmp_path: Path) -> None:
    """In one's own JSONL, in either spelling of the field."""
    for colour in ("red", "blue"):
        Image.new("RGB", (6, 4), colour).save(tmp_path / f"{colour}.png")
    for field in ("image", "images"):
        row = {field: ["red.png", "blue.png"], "question": "Is <image 2> it?", "answer": "no"}
        (tmp_path / "validation.jsonl").write_text(json.dumps(row) + "\n")
        (sample,) = loaded("mmmu", path=tmp_path).samples
        images = load_task("mmmu").prompt(sample, "direct").images
        assert [image.getpixel((0, 0)) for image in images] == [(255, 0, 0), (0, 0, 255)]


def test_columns_of_a_table_number_their_pictures(tmp_path: Path) -> None:
    """Of a tab-separated file, by path or as base64; an empty cell leaves a gap."""
    Image.new("RGB", (6, 4), "blue").save(tmp_path / "blue.png")
    encoded = base64.b64encode(picture("red")["bytes"]).decode()  # type: ignore[arg-type]
    lines = [
        "index\tquestion\tA\tB\tanswer\timage_1\timage_2\timage_3",
        f"7\tIs <image 3> left of <image 1>?\tno\tyes\tB\t{encoded}\t\tblue.png",
    ]
    (tmp_path / "val.tsv").write_text("\n".join(lines))
    for task in ("mmmu", "blink"):
        (sample,) = loaded(task, path=tmp_path).samples
        prompt = load_task(task).prompt(sample, "direct")
        assert prompt.text.startswith(f"Is {MARK} left of {MARK}?")
        assert prompt.text.endswith("(A) no\n(B) yes")
        assert [each.getpixel((0, 0)) for each in prompt.images] == [(0, 0, 255), (255, 0, 0)]


def test_written_answers_of_mmmu(tmp_path: Path) -> None:
    """A list of accepted answers in a text, and the hint for short answers."""
    sample = only("mmmu", tmp_path, college(**WRITTEN), "validation")
    prompt = load_task("mmmu").prompt(sample, "direct")
    assert not sample.choices
    assert [each.text for each in sample.target] == ["24/7", "3.429"]  # type: ignore[union-attr]
    assert prompt.text == f"How many are in {MARK}?"
    assert prompt.instruction == "Answer the question using a single word or phrase."


@pytest.mark.parametrize(
    ("task", "split", "row", "field"),
    [
        ("mmmu", "validation", college(answer=None), "answer"),
        ("mmmu", "validation", college(**{**WRITTEN, "answer": "[]"}), "answer"),
        ("mmmu", "validation", college(options="['a'"), "options"),
        ("mmmu", "validation", college(options="__import__('os').getcwd()"), "options"),
        ("mathvista", "testmini", figure(answer=None), "answer"),
        ("mathvista", "testmini", figure(choices=["1", "2"], answer="3"), "answer"),
        ("blink", "val", glance(answer="(C)"), "answer"),
        ("blink", "val", glance(choices=[]), "choices"),
    ],
)
def test_a_hole_in_the_answer_key_is_refused(
    task: str, split: str, row: Mapping[str, Any], field: str, tmp_path: Path
) -> None:
    """With the row and the data set's own name of the field."""
    with pytest.raises(DataError, match=f"row 1, field '{field}'"):
        only(task, tmp_path, row, split)


@pytest.mark.parametrize(
    ("task", "split", "row", "gone"),
    [
        ("mmmu", "validation", college(), "answer"),
        ("mmmu", "validation", college(), "options"),
        ("mathvista", "testmini", figure(), "answer"),
        ("mathvista", "testmini", figure(question_type="multi_choice"), "choices"),
        ("blink", "val", glance(), "choices"),
    ],
)
def test_a_missing_column_is_named_with_those_that_are_there(
    task: str, split: str, row: dict[str, Any], gone: str, tmp_path: Path
) -> None:
    """By its own name."""
    rest = {name: value for name, value in row.items() if name != gone}
    with pytest.raises(DataError, match=f"row 1, field '{gone}': missing") as caught:
        only(task, tmp_path, rest, split)
    assert "question" in caught.value.known


@pytest.mark.parametrize(
    ("task", "split", "make", "column"),
    [
        ("mmmu", "validation", college, "image_2"),
        ("mathvista", "testmini", figure, "decoded_image"),
        ("blink", "val", glance, "image_3"),
    ],
)
def test_a_broken_picture_is_its_own_question_only(
    task: str, split: str, make: Any, column: str, tmp_path: Path
) -> None:
    """The data load, and the error names the picture's column."""
    broken = {"bytes": b"\x89PNG broken", "path": None}
    sample = only(task, tmp_path, make(**{column: broken}), split)
    with pytest.raises(SampleError, match=column):
        load_task(task).prompt(sample, "direct")


def test_mathvista_is_asked_in_the_words_of_its_evaluation(tmp_path: Path) -> None:
    """Hint, unit and options; the picture is the decoded one, the topic its task."""
    task = load_task("mathvista")
    sample = only("mathvista", tmp_path, figure(), "testmini")
    assert (sample.id, sample.target, sample.topic) == ("1", "1.2", "geometry problem solving")
    assert sample.metadata == {"answer_type": "float", "precision": 1.0, "unit": "years"}
    assert task.prompt(sample, "direct").text == (
        "Hint: Please answer the question requiring a floating-point number with one decimal place "
        "and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.\n"
        "Question: What is the gap? (Unit: years)"
    )
    assert task.prompt(sample, "plain").text == "What is the gap? (Unit: years)"
    assert task.prompt(sample, "direct").images[0].getpixel((0, 0)) == (0, 0, 255)
    row = figure(choices=["7", "8", "8"], answer="8", unit=None, answer_type="text", precision=None)
    chosen = only("mathvista", tmp_path, row, "testmini")
    assert (chosen.target, chosen.choices) == (1, ("7", "8", "8"))
    assert task.prompt(chosen, "direct").text.endswith(
        "letter, e.g., A, B, C, D, at the end.\nQuestion: What is the gap?\n"
        "Choices:\n(A) 7\n(B) 8\n(C) 8"
    )
    assert task.prompt(chosen, "direct").instruction == ""


def test_blink_is_asked_in_its_own_words_with_all_pictures(tmp_path: Path) -> None:
    """Those of `prompt`, whose options come from their column; "(B)" is the second."""
    sample = only("blink", tmp_path, glance(), "val")
    prompt = load_task("blink").prompt(sample, "direct")
    assert (sample.id, sample.target, sample.topic) == ("val_Jigsaw_1", 1, "Jigsaw")
    assert prompt.text == (
        "Given the first image, which one fits? Select from the following choices.\n"
        "(A) the second image\n(B) the third image"
    )
    assert len(prompt.images) == 3
    marked = only("blink", tmp_path, glance(prompt="Is <image 2> in <image 1>? (A) x"), "val")
    text = load_task("blink").prompt(marked, "direct").text
    assert text.startswith(f"Is {MARK} in {MARK}?\n(A)")
    assert extract_choice("The correct answer is (B)", sample.choices).answer == 1


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("B", 1),
        ("(B)", 1),
        ("B.", 1),
        ("The answer is (A), not (B)", 1),  # the last in brackets
        ("A (B) C", 1),
        ("either A or C here", 2),
        ("I would say that it is the river bank", 2),
        ("river bank", None),  # too short for an option's text
        ("A) a tree", None),
        ("", None),
        ("b", None),
    ],
)
def test_options_as_mmmus_evaluation_finds_them(raw: str, place: int | None) -> None:
    """By brackets, by letters, by texts; where it draws one at random there is none."""
    assert option_of(raw, ["a tree", "a tree top", "river bank"]) == place


@pytest.mark.parametrize(
    ("raw", "references", "right"),
    [
        ("3.4291", ["24/7", "3.43"], True),
        ("It is 1,234 m", ["1234.00"], True),
        ("so x = 12", ["12"], True),
        ("12 cm = x", ["12"], False),  # after the equals sign nothing but x
        ("The answer is 3e2", ["300"], True),
        ("We see that it is the Trans-Siberian line.", ["trans-siberian"], True),
        ("embryo", ["embryonic"], False),
        ("Because", ["b"], False),
        ("Is it b or c", ["b"], True),
        ("", ["1"], False),
    ],
)
def test_written_answers_as_mmmus_evaluation_compares_them(
    raw: str, references: list[str], right: bool
) -> None:
    """Numbers rounded to two decimals, texts by containment, a letter between spaces."""
    assert answers_match(raw, references) is right


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("The gap is 12 years.", "12"),
        ("12", "12"),
        ("3 + 4 = 7, so the answer is 7 (cm).", "7"),
        ("Answer: $1,250.50", "1250.50"),
        ("1/4", "0.25"),
        ("So \\boxed{\\frac{3}{4}}", "0.75"),
        ("The sizes are [1, 2, 3].", "[1, 2, 3]"),
        ("Seven", "7"),
        ("First 5.\nThen 6.\nIt is 8.", "8"),
        ("There are 8. We take 3. So there are 5 left.", "5"),
        ("0, 2, 4", "[0, 2, 4]"),
        ("The final answer is: -3.5°", "-3.5"),
        ("increasing", "increasing"),
        ("It can be 5 or 6.", None),
        ("I cannot see any picture that would help here", None),
        ("", None),
    ],
)
def test_the_value_of_a_written_answer(raw: str, value: str | None) -> None:
    """The one that a text comes to; several are none."""
    assert extract_value(raw).answer == value


@pytest.mark.parametrize(
    ("answer", "target", "about", "right"),
    [
        ("1.24", "1.2", {"answer_type": "float", "precision": 1.0}, True),
        ("1.26", "1.2", {"answer_type": "float", "precision": 1.0}, False),
        ("3.0", "3", {"answer_type": "integer"}, True),
        ("25%", "25", {"answer_type": "integer"}, True),
        ("[1,2]", "[1, 2]", {"answer_type": "list"}, True),
        ("[2, 1]", "[1, 2]", {}, False),
        ("1.249", "1.25", {}, True),  # to as many decimals as the target has
        ("Yes.", "yes", {}, True),
        ("two", "2", {}, False),
    ],
)
def test_values_are_compared_as_mathvista_does(
    answer: str, target: str, about: Mapping[str, str | float], right: bool
) -> None:
    """By type and precision; by the target where the data do not say them."""
    assert values_match(answer, target, about) is right


def test_the_nearest_option_is_never_a_guess() -> None:
    """Of two that are as near there is none, and none that is not half alike."""
    assert nearest_option("increases", ["decrease", "increase"]) == 1
    assert nearest_option("I don't know", ["yes", "no"]) is None
    assert nearest_option("", ["a", "b"]) is None
    assert nearest_option("ab", ["a", "b"]) is None
    assert nearest_option("I do not see any of these in the picture", ["a", "b"]) is None


def scored(tmp_path: Path, task: str, rows: Sequence[Mapping[str, Any]]) -> harness.Run:
    """The run of a file with these rows."""
    file = tmp_path / "a.jsonl"
    named = ({"id": str(n), **row} for n, row in enumerate(rows))
    file.write_text("".join(f"{json.dumps(row)}\n" for row in named))
    return score_file(file, load_task(task), label="m", runs=tmp_path / "runs", fresh=True)


def value(run: harness.Run, name: str) -> float | None:
    found = run.record.metrics[name].value
    return None if found is None else round(found, 4)


def test_one_file_has_options_and_written_answers(tmp_path: Path) -> None:
    """MMMU's and MathVista's rows with and without options, each read as what it is."""
    run = scored(
        tmp_path,
        "mmmu",
        [
            {"raw": "(B)", "options": "['x', 'y']", "target": "B", "category": "Art"},
            {"raw": "x) no", "choices": ["x", "y"], "target": "x", "category": "Art"},
            {"raw": "It is 7.001", "answers": ["7"], "category": "Math"},
            {"raw": "B", "target": "(B)", "category": "Math", "options": "[]"},
        ],
    )
    assert value(run, "mmmu_accuracy") == 0.75
    assert value(run, "mmmu_guessed") == 0.25
    assert value(run, "mmmu_accuracy/Math") == 1.0
    run = scored(
        tmp_path,
        "mathvista",
        [
            {"raw": "The answer is (A)", "choices": ["3", "4"], "target": "3"},
            {"raw": "increase", "choices": ["increases", "falls"], "target": 0},
            {"raw": "about 1.27", "target": "1.3", "answer_type": "float", "precision": 1},
            {"raw": "12 (cm)", "answers": ["12"]},
        ],
    )
    assert value(run, "mathvista_accuracy") == 1.0
    assert value(run, "mathvista_extracted") == 0.75


@pytest.mark.parametrize("target", ["B", "(B)", "B.", ["B"]], ids=str)
def test_rows_without_options_have_letters(tmp_path: Path, target: object) -> None:
    """As many as any row of the file has, and four at least; nobody knows what chance is."""
    key = "answers" if isinstance(target, list) else "target"
    rows = [
        {"raw": "The correct answer is (B)", key: target, "category": "t"},
        {"raw": "F", "target": "F", "category": "u"},
    ]
    run = scored(tmp_path, "blink", rows)
    assert value(run, "topic_mean") == 1.0
    assert value(run, "chance") is None
    assert value(scored(tmp_path, "mmstar", rows), "accuracy") == 1.0


@pytest.mark.parametrize(
    "question",
    [
        "What is it?\nOptions: A: a cat, B: two dogs, C: none",
        "What is it? A. a cat B. two dogs C. none",
        "A or B?\n(A) a cat\n(B) two dogs\n(C) none\nAnswer with a letter.",
    ],
)
def test_options_in_the_text_of_a_question_are_known(question: str, tmp_path: Path) -> None:
    """So that an answer may be an option's text, and chance is known."""
    rows = [{"raw": "two dogs", "target": "B", "question": question}]
    run = scored(tmp_path, "mmstar", rows)
    assert (value(run, "accuracy"), value(run, "chance")) == (1.0, 0.3333)


def test_letters_are_places_where_all_keys_of_a_file_are_letters(tmp_path: Path) -> None:
    """Also where another option's text is that letter; a row alone can be meant in two ways."""
    odd = {"raw": "A", "choices": ["E", "B", "A"], "target": "A", "category": "t"}
    plain = {"raw": "(B)", "choices": ["x", "y"], "target": "(B)"}
    for task in ("mmmu", "blink"):
        run = scored(tmp_path, task, [odd, plain])
        targets = [p.target for p in RunFolder(run.folder).existing_predictions()]
        assert targets == [0, 1]
    for wrong in (5, "['x'", {"A": "x"}):
        with pytest.raises(DataError, match="line 1, field 'choices': must be a list"):
            scored(tmp_path, "blink", [{**odd, "choices": wrong}, plain])
    for rows in ([odd], [odd, {**plain, "target": "y"}]):
        with pytest.raises(DataError, match="this can be 2 of them"):
            scored(tmp_path, "blink", rows)


def test_a_row_of_written_answers_may_list_options(tmp_path: Path) -> None:
    """Yes and no, say: its target is a text all the same."""
    rows = [
        {"raw": "Yes", "choices": ["yes", "no"], "target": "yes", "category": "existence"},
        {"raw": "no.", "answers": ["no"], "category": "count", "group": 7},
    ]
    assert value(scored(tmp_path, "pope", rows), "yes_no_accuracy") == 1.0
    assert value(scored(tmp_path, "gqa", rows), "exact_match") == 1.0


def test_formulas_of_ocrbench_are_known_by_their_rows(tmp_path: Path) -> None:
    """A row's own columns say how it is compared."""
    row = {"raw": "X ^ 2", "target": "x ^ 2"}
    assert value(scored(tmp_path, "ocrbench", [row]), "contains") == 1.0
    exact = {**row, "dataset": "HME100k"}
    assert value(scored(tmp_path, "ocrbench", [exact]), "contains") == 0.0


def test_another_extractor_reads_the_options_alone(tmp_path: Path) -> None:
    """Written answers keep their own."""
    rows = [
        {"raw": "So A. No: B. Clearly D", "choices": ["x", "y"], "target": 1},
        {"raw": "It is 7", "answers": ["7"]},
    ]
    run = scored(tmp_path, "mmmu", rows)
    other = rescore(RunFolder(run.folder), load_task("mmmu"), extractor="lmms-eval")
    answers = [p.answer for p in RunFolder(other.folder).existing_predictions()]
    assert answers == [None, "It is 7"]


def test_mmmu_is_evaluated_with_pictures_among_the_words(tiny, tmp_path: Path) -> None:
    """Several pictures, options in one question and none in another, and an error row; options are
    not scored where some questions have none."""
    data, runs = tmp_path / "data", tmp_path / "runs"
    rows = [
        college(),
        college(number=2, **WRITTEN),
        college(number=3, question="In <image 3>?"),
    ]
    written(data / "validation.parquet", rows)
    folder = str(tiny("llava"))
    with pytest.raises(HarnessError, match="1 of 3 questions of MMMU have written answers"):
        harness.evaluate(folder, "mmmu", data=data, runs=runs, mode="loglikelihood")
    run = harness.evaluate(
        folder, "mmmu", data=data, runs=runs, shuffle_choices=3, device="cpu", max_new_tokens=4
    )
    by_id: dict[str, Prediction] = {
        p.sample_id: p for p in RunFolder(run.folder).existing_predictions()
    }
    first, second, third = (by_id[f"validation_Art_{number}"] for number in (1, 2, 3))
    assert "Who made\n<image>\n after <image>\n?\n(" in first.prompt
    assert first.prompt.rstrip().endswith("given choices directly. ASSISTANT:")
    assert "single word or phrase." in second.prompt
    assert not second.choices
    assert third.error is not None
    assert "<image 3>" in third.error
    assert "letter from the given choices" in run.record.settings["instruction"]
    assert "single word or phrase" in run.record.settings["instruction"]


def test_written_answers_have_no_options_to_conclude_with() -> None:
    """What the model wrote stays, whatever its reasoning."""
    sample = Sample(id="a", question="How many?", target="7")
    output = Output(raw="<REASONING> 3 and 4 </REASONING>", prompt="", tokens_in=1, tokens=9)
    nothing: Any = None
    assert conclude(nothing, nothing, [(sample, output, 0)]) == [output]


def test_a_task_of_your_own_may_have_both_kinds(tmp_path: Path) -> None:
    """`answers` says so, and nothing else may stand there."""
    assert replace(load_task("scienceqa"), answers="mixed").answers == "mixed"
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\nfrom tasks.mmmu import TASK as ours\n"
        "TASK = replace(ours, name='x', answers='both')\n"
    )
    with pytest.raises(HarnessError, match="'both' as its answers"):
        load_task(str(mine))


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["test.jsonl"], "test"),
        (["test.jsonl", "validation.jsonl"], "validation"),
        (["val.jsonl", "test.jsonl"], "validation"),
        (["train.jsonl"], "validation"),
        (["rows.jsonl"], "validation"),
    ],
)
def test_your_own_data_need_no_split_of_the_tasks_name(
    names: list[str], split: str, tmp_path: Path
) -> None:
    """Where there is none, the test split is read; one that is asked for stays."""
    for name in names:
        (tmp_path / name).write_text('{"question": "Who?", "answer": "x"}\n')
    task = load_task("textvqa")
    assert Data(task, DataOptions(path=tmp_path)).options.split == split
    if names == ["test.jsonl"]:
        assert Data(task, DataOptions(path=tmp_path / names[0])).options.split == "test"
    assert Data(task, DataOptions(path=tmp_path, split="dev")).options.split == "dev"
    assert Data(task, DataOptions()).options.split == "validation"
