"""Published data sets, in the columns of their copies on the hub: what becomes of a row, and their
official scores."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.core.errors import DataError
from harness.core.types import DataOptions, Prediction, Reference, Sample
from harness.metrics.balanced import CV_BENCH, TOPIC_MEAN
from harness.metrics.figures import figures
from harness.run.answers_file import score_file
from harness.run.task_data import Data
from tasks import load_task
from tests.hub_cache import cache_on_hub, without_network


def picture() -> dict[str, object]:
    data = BytesIO()
    Image.new("RGB", (6, 4), "red").save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set on the hub: its file, a row, and the sample that it is."""

    task: str
    repo: str
    file: str
    row: dict[str, Any]
    id: str
    target: Any
    topic: str = ""
    group: str = ""
    choices: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: str


SHORT = "Answer the question using a single word or phrase."
TEN = [*["yes"] * 9, "no"]
CASES = [
    Case(
        task="textvqa",
        repo="lmms-lab/textvqa",
        file="data/validation-00000-of-00003.parquet",
        row={"image_id": "f4", "question_id": 34602, "question": "what brand?", "answers": TEN},
        id="34602",
        target=tuple(map(Reference, TEN)),
        asked=f"what brand?\n{SHORT}",
    ),
    Case(
        task="vqav2",
        repo="lmms-lab-encoder/VQAv2",
        file="data/validation-00000-of-00068.parquet",
        row={
            "question_type": "is this",
            "multiple_choice_answer": "yes",
            "answers": [
                {"answer": "yes", "answer_confidence": "maybe", "answer_id": 1},
                {"answer": "no", "answer_confidence": "yes", "answer_id": 2},
            ],
            "image_id": 262148,
            "answer_type": "yes/no",
            "question_id": 262148000,
            "question": "Is this so?",
        },
        id="262148000",
        target=(Reference("yes", 1.0, "maybe"), Reference("no", 1.0, "yes")),
        topic="yes/no",
        asked=f"Is this so?\n{SHORT}",
    ),
    Case(
        task="vizwiz",
        repo="lmms-lab/VizWiz-VQA",
        file="data/val-00000-of-00005.parquet",
        row={
            "question_id": "VizWiz_val_0.jpg",
            "question": "What is it?",
            "answers": ["unanswerable", "can"],
            "category": "other",
        },
        id="VizWiz_val_0.jpg",
        target=(Reference("unanswerable"), Reference("can")),
        topic="other",
        asked="What is it?\nWhen the provided information is insufficient, respond with "
        f"'Unanswerable'.\n{SHORT}",
    ),
    Case(
        task="docvqa",
        repo="lmms-lab/DocVQA",
        file="DocVQA/validation-00000-of-00006.parquet",
        row={
            "questionId": "49153",
            "question": "What is the date?",
            "question_types": ["handwritten", "form"],
            "docId": 14465,
            "ucsf_document_id": "pybv0228",
            "answers": ["1/8/93", "1/8/1993"],
            "data_split": "val",
        },
        id="49153",
        target=(Reference("1/8/93"), Reference("1/8/1993")),
        group="14465",
        asked=f"What is the date?\n{SHORT}",
    ),
    Case(
        task="infovqa",
        repo="lmms-lab/DocVQA",
        file="InfographicVQA/validation-00000-of-00010.parquet",
        row={"questionId": "98313", "question": "How many?", "answers": ["3"], "data_split": "val"},
        id="98313",
        target="3",
        asked=f"How many?\n{SHORT}",
    ),
    Case(
        task="chartqa",
        repo="HuggingFaceM4/ChartQA",
        file="data/test-00000-of-00001.parquet",
        row={"query": "How many bars?", "label": ["14"], "human_or_machine": 1},
        id="0",
        target="14",
        topic="augmented",
        asked=f"How many bars?\n{SHORT}",
    ),
    Case(
        task="chartqa",
        repo="lmms-lab/ChartQA",
        file="data/test-00000-of-00001.parquet",
        row={"type": "human_test", "question": "How many bars?", "answer": "14"},
        id="0",
        target="14",
        topic="human",
        asked=f"How many bars?\n{SHORT}",
    ),
    Case(
        task="ocrbench",
        repo="echo840/OCRBench",
        file="data/test-00000-of-00001.parquet",
        row={
            "dataset": "HME100k",
            "question": "Write the formula.",
            "question_type": "Handwritten Mathematical Expression Recognition",
            "answer": ["x ^ 2"],
        },
        id="0",
        target="x ^ 2",
        topic="Handwritten Mathematical Expression Recognition",
        metadata={"exact_case": 1.0},
        asked=f"Write the formula.\n{SHORT}",
    ),
    Case(
        task="pope",
        repo="lmms-lab-encoder/POPE",
        file="data/test-00000-of-00003.parquet",
        row={
            "id": "0",
            "question_id": "1",
            "question": "Is there a snowboard in the image?",
            "answer": "yes",
            "image_source": "COCO_val2014_000000310196",
            "category": "adversarial",
        },
        id="0",
        target="yes",
        topic="adversarial",
        asked=f"Is there a snowboard in the image?\n{SHORT}",
    ),
    Case(
        task="realworldqa",
        repo="lmms-lab/RealWorldQA",
        file="data/test-00000-of-00002.parquet",
        row={"question": "Which way?\n\nA. Left\nB. Right\nAnswer with the letter.", "answer": "B"},
        id="0",
        target="B",
        asked="Which way? A. Left B. Right Answer with the letter.",
    ),
    Case(
        task="mmbench",
        repo="lmms-lab/MMBench",
        file="en/dev-00000-of-00001.parquet",
        row={
            "index": 1000241,
            "question": "Which?",
            "hint": "Look at it.",
            "answer": "B",
            "A": "one",
            "B": "two",
            "C": "nan",
            "D": "nan",
            "category": "identity_reasoning",
            "source": "scienceqa",
            "L2-category": "attribute_reasoning",
            "comment": "nan",
            "split": "dev",
        },
        id="1000241",
        target=1,
        choices=("one", "two"),
        topic="attribute_reasoning",
        group="241",
        asked="Look at it.\nWhich?\nA. one\nB. two",
    ),
    Case(
        task="aokvqa",
        repo="HuggingFaceM4/A-OKVQA",
        file="data/validation-00000-of-00001.parquet",
        row={
            "question_id": "22jb",
            "question": "What is it?",
            "choices": ["cat", "dog", "fox", "cow"],
            "correct_choice_idx": 2,
            "direct_answers": "['fox', 'fox', 'dog']",
            "difficult_direct_answer": False,
            "rationales": ["It is red."],
        },
        id="22jb",
        target=2,
        choices=("cat", "dog", "fox", "cow"),
        asked="What is it?\nA. cat\nB. dog\nC. fox\nD. cow",
    ),
    Case(
        task="aokvqa-direct",
        repo="HuggingFaceM4/A-OKVQA",
        file="data/validation-00000-of-00001.parquet",
        row={
            "question_id": "22jb",
            "question": "What is it?",
            "choices": ["cat", "dog", "fox", "cow"],
            "correct_choice_idx": 2,
            "direct_answers": "['fox', 'fox', \"fox's den\"]",
            "difficult_direct_answer": False,
        },
        id="22jb",
        target=(Reference("fox"), Reference("fox"), Reference("fox's den")),
        asked=f"What is it?\n{SHORT}",
    ),
    Case(
        task="cvbench",
        repo="nyu-visionx/CV-Bench",
        file="test_2d.parquet",
        row={
            "idx": 0,
            "type": "2D",
            "task": "Count",
            "question": "How many organs?",
            "choices": ["3", "2", "1", "0"],
            "answer": "(C)",
            "prompt": "How many organs? ...",
            "source": "ADE20K",
        },
        id="0",
        target=2,
        topic="ADE20K",
        choices=("3", "2", "1", "0"),
        asked="How many organs?\nA. 3\nB. 2\nC. 1\nD. 0",
    ),
    Case(
        task="mmstar",
        repo="Lin-Chen/MMStar",
        file="mmstar.parquet",
        row={
            "index": 7,
            "question": "Which Options: are true?\nOptions: A: a, b and c, B: E: none, C: x\nD: y.",
            "answer": "B",
            "category": "coarse perception",
            "l2_category": "image scene",
        },
        id="7",
        target=1,
        topic="coarse perception",
        choices=("a, b and c", "E: none", "x", "y."),
        asked="Which Options: are true?\nA. a, b and c\nB. E: none\nC. x\nD. y.",
    ),
    Case(
        task="ai2d",
        repo="lmms-lab/ai2d",
        file="data/test-00000-of-00001.parquet",
        row={"question": "Which?", "options": ["2", "1", "0"], "answer": "2"},
        id="0",
        target=2,
        choices=("2", "1", "0"),
        asked="Which?\nA. 2\nB. 1\nC. 0",
    ),
    Case(
        task="ai2d-no-mask",
        repo="lmms-lab/ai2d-no-mask",
        file="data/test-00000-of-00001.parquet",
        row={"question": "Which?", "options": ["leaf", "root"], "answer": "1"},
        id="0",
        target=1,
        choices=("leaf", "root"),
        asked="Which?\nA. leaf\nB. root",
    ),
]
ids = [f"{case.task} {case.repo}" for case in CASES]


def write(folder: Path, case: Case, **changes: Any) -> Path:
    """A copy of the data set with one row; a column that is changed to ... is left out."""
    row = {"image": picture(), **case.row, **changes}
    path = folder / case.file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({k: [v] for k, v in row.items() if v is not ...}), path)
    return folder


def only(case: Case, **options: Any) -> Sample:
    (sample,) = Data(load_task(case.task), DataOptions(**options)).samples.samples
    return sample


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_row_of_the_hub_becomes_a_sample(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's cache, in the split with public answers: id, target, options, topic, group."""
    without_network(tmp_path, monkeypatch)
    cache_on_hub(tmp_path, case.repo, write(tmp_path / "copy", case))
    sample = only(case)
    assert (sample.id, sample.target, sample.topic) == (case.id, case.target, case.topic)
    assert (sample.group, sample.choices) == (case.group, case.choices)
    assert dict(sample.metadata) == case.metadata
    assert load_task(case.task).prompt(sample, "direct").text == case.asked


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_copy_of_the_files_is_read_too(case: Case, tmp_path: Path) -> None:
    """As a folder, with the same samples; the style `plain` asks the bare question."""
    sample = only(case, path=write(tmp_path, case))
    assert sample.target == case.target
    plain = load_task(case.task).prompt(sample, "plain")  # --style overrides the wording
    assert SHORT not in plain.text
    assert plain.instruction is None


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_broken_picture_is_its_own_question_only(case: Case, tmp_path: Path) -> None:
    """The data load, and the picture says what it is when it is decoded."""
    broken = {"bytes": b"\x89PNG broken", "path": None}
    sample = only(case, path=write(tmp_path, case, image=broken))
    with pytest.raises(Exception, match=r"image"):
        sample.images[0].decode()


def answer_column(case: Case) -> str:
    """The column that holds the answer."""
    names = ("answers", "label", "direct_answers", "correct_choice_idx", "answer")
    if case.task == "aokvqa":
        names = ("correct_choice_idx",)
    return next(name for name in names if name in case.row)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_missing_column_is_named_with_those_that_are_there(case: Case, tmp_path: Path) -> None:
    """By the data set's own name for it, or ours where it has none."""
    with pytest.raises(DataError, match=r"row 1, field '\w+': missing") as caught:
        only(case, path=write(tmp_path, case, **{answer_column(case): ...}))
    assert "image" in caught.value.known


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_empty_answer_is_refused(case: Case, tmp_path: Path) -> None:
    """An answer key with a hole in it would make the score wrong."""
    value = case.row[answer_column(case)]
    hole = [] if isinstance(value, list) else "[]" if str(value).startswith("[") else None
    with pytest.raises(DataError, match="row 1, field"):
        only(case, path=write(tmp_path, case, **{answer_column(case): hole}))


def gqa(folder: Path, *, image: str = "n1") -> Path:
    """The two tables of GQA on the hub, with one question."""
    tables: dict[str, dict[str, list[Any]]] = {
        "testdev_balanced_instructions": {
            "id": ["201307251"], "imageId": [image], "question": ["Is it red?"],
            "answer": ["yes"], "fullAnswer": ["Yes, it is."],
        },
        "testdev_balanced_images": {"id": ["n0", "n1"], "image": [picture(), picture()]},
    }  # fmt: skip
    for name, columns in tables.items():
        path = folder / name / "testdev-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), path)
    return folder


def test_gqa_joins_its_questions_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the picture's id, from the hub's cache and from a copy; a picture that is not there is
    named."""
    without_network(tmp_path, monkeypatch)
    cache_on_hub(tmp_path, "lmms-lab/GQA", gqa(tmp_path / "copy"))
    for path in (None, tmp_path / "copy"):
        (sample,) = Data(load_task("gqa"), DataOptions(path=path)).samples.samples
        assert (sample.id, sample.target, sample.question) == ("201307251", "yes", "Is it red?")
        assert sample.images[0].decode().size == (6, 4)
    with pytest.raises(DataError, match="row 1, field 'imageId': must be the id of a picture"):
        load_task("gqa").load(DataOptions(path=gqa(tmp_path / "b", image="n9"), split="testdev"))


def test_mmbench_is_known_by_its_other_copies_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MMBench_EN lies in another folder of its repository."""
    without_network(tmp_path, monkeypatch)
    case = next(case for case in CASES if case.task == "mmbench")
    other = replace(case, file="data/dev-00000-of-00001.parquet")
    for repo in ("lmms-lab-encoder/MMBench_EN", "lmms-lab/MMBench"):
        files = other if "EN" in repo else case
        cache_on_hub(tmp_path, repo, write(tmp_path / repo.replace("/", "-"), files))
        made = Data(load_task("mmbench"), DataOptions()).samples
        assert (made.source, made.samples[0].target) == (repo, 1)


def test_topics_count_alike_where_the_authors_say_so() -> None:
    """CV-Bench is half 2D, the mean of its two sources, and half 3D; or the mean over topics."""
    right = {"ADE20K": [1, 1, 0, 0], "COCO": [1], "Omni3D": [0, 0, 0, 1]}
    rows = [
        Prediction(sample_id=f"{topic}{i}", raw="", answer=ok, rule="", target=1,
                   choices=("x", "y"), topic=topic)
        for topic, each in right.items() for i, ok in enumerate(each)
    ]  # fmt: skip
    values = figures(rows, [CV_BENCH, TOPIC_MEAN]).values
    assert values["cv_bench"].value == pytest.approx(((0.5 + 1.0) / 2 + 0.25) / 2)
    assert values["topic_mean"].value == pytest.approx((0.5 + 1.0 + 0.25) / 3)
    assert values["cv_bench"].n == 9
    assert figures(rows[:4], [CV_BENCH]).values["cv_bench"].value is None


def test_a_data_set_of_one_split_has_no_other() -> None:
    """MMStar's file names no split: another one than its own is refused, not taken for it."""
    with pytest.raises(DataError, match="no split 'test'"):
        load_task("mmstar").load(DataOptions(split="test"))


def test_questions_marked_as_difficult_have_no_direct_answers(tmp_path: Path) -> None:
    """They are left out and counted."""
    case = next(case for case in CASES if case.task == "aokvqa-direct")
    rows = [{"image": picture(), **case.row, "question_id": str(n), "difficult_direct_answer": n < 2}
            for n in range(3)]  # fmt: skip
    path = tmp_path / case.file
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path)
    made = Data(load_task(case.task), DataOptions(path=tmp_path)).samples
    assert [sample.id for sample in made.samples] == ["2"]
    assert made.filtered["difficult"] == 2


@pytest.mark.parametrize(
    "text", ["__import__('os').system('touch x')", "['a'", "{'a': 1}", "[1, 2]", "[" * 90_000]
)
def test_a_list_in_a_text_is_only_ever_read(text: str, tmp_path: Path) -> None:
    """What is no list of texts is refused, and nothing in it runs."""
    case = next(case for case in CASES if case.task == "aokvqa-direct")
    with pytest.raises(DataError, match="field 'direct_answers': must be a list of texts"):
        only(case, path=write(tmp_path, case, direct_answers=text))


PUBLISHED = [
    ("textvqa-val.llava-v1.5-13b", "textvqa", {"vqa_accuracy": 61.25}),
    (
        "chartqa-test.qwen2.5-vl-7b",
        "chartqa",
        {
            "relaxed_accuracy": 87.84,
            "relaxed_accuracy/test_human": 80.72,
            "relaxed_accuracy/test_augmented": 94.96,
        },
    ),
    (
        "pope.llava-v1.5-13b",
        "pope",
        {
            "yes_f1_mean": 85.95,
            "yes_f1/random": 87.14,
            "yes_f1/popular": 86.25,
            "yes_f1/adversarial": 84.46,
        },
    ),
    ("mmbench-dev.llava-v1.5-13b", "mmbench", {"circular_accuracy": 67.69, "accuracy": 76.45}),
    (
        "mmmu-val.llava1.5_13b",
        "mmmu",
        {"mmmu_accuracy": 36.56, "mmmu_extracted": 36.56, "mmmu_guessed": 0.22},
    ),
    ("scienceqa.llava-v1.5-13b", "scienceqa", {"accuracy/IMG": 71.64}),
]


@pytest.mark.process  # large files are extracted by several
@pytest.mark.parametrize(("file", "task", "scores"), PUBLISHED, ids=[row[1] for row in PUBLISHED])
def test_published_answers_have_their_published_scores(
    file: str, task: str, scores: dict[str, float], real_data: Path, tmp_path: Path
) -> None:
    """Official outputs, as they are: what their authors report, to the second digit."""
    unpacked = tmp_path / "answers.jsonl"
    packed = real_data / "published" / f"{file}.jsonl.gz"
    with gzip.open(packed) as source, unpacked.open("wb") as plain:
        shutil.copyfileobj(source, plain)
    run = score_file(unpacked, load_task(task), label="m", runs=tmp_path / "runs")
    got = {name: round(100 * (run.record.metrics[name].value or 0), 2) for name in scores}
    assert got == scores
    first = json.loads((run.folder / "predictions.jsonl").read_text().splitlines()[0])
    assert first["scores"] or task == "mmbench"
