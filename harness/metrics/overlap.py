"""Corpus BLEU, ROUGE and BERTScore over pairs of texts, as pure functions.

The values are those of sacrebleu, rouge-score and bert-score. BLEU and ROUGE are kept as integers
per pair: a corpus, a topic or a bootstrap resample is then a sum, and several processes give what
one gives. BERTScore alone loads torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from itertools import chain, count, pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from harness.core.options import TOKENIZE, Tokenize
from harness.core.version import __version__
from harness.core.worker_pool import worker_pool

Integers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Lines: TypeAlias = list[list[bytes]]
"""The words of a text, line by line."""


ROUGE_SIGNATURE: Final = f"f1|mean|stemmer:no|lsum:newline|harness:{__version__}"
"""rouge-score's F1 per pair, plain mean over the pairs."""
ROUGE_TYPES: Final = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def bleu_signature(tokenize: Tokenize = TOKENIZE, *, several: bool = False) -> str:
    """In sacrebleu's terms, whose value it is (divided by 100).

    Args:
        tokenize: how a text is split.
        several: some predictions have several references.
    """
    return (
        f"nrefs:{'var' if several else 1}|case:mixed|eff:no|tok:{tokenize}|smooth:none|order:4"
        f"|scale:0-1|harness:{__version__}"
    )


_ORDER: Final = 4
_CHUNK: Final = 512  # pairs that a worker takes at a time: about a megabyte of long answers
_WORTH_WORKERS: Final = 2000  # pairs; fewer are done before a pool has started
_WORD_CHARACTERS: Final = b"\nabcdefghijklmnopqrstuvwxyz0123456789"
_WORDS_ONLY: Final = bytes(c if c in _WORD_CHARACTERS else ord(" ") for c in range(256))
_SYMBOLS: Final = re.escape('{|}~[\\]^_`!"#$%&()*+:;<=>?@/')
_TOKEN: Final = re.compile(
    rf"(?:[^{_SYMBOLS}.,\-0-9]+|[0-9]+(?:[.,][0-9]+)*|(?<![0-9])-)+|[{_SYMBOLS}.,\-]"
)
_MARKS_BEFORE_DIGIT: Final = re.compile("[.,]{2}[0-9]")


def bleu(statistics: Integers | Floats) -> Floats:
    """BLEU, 0 to 1, of summed (or averaged) statistics, (..., 10) -> (...).

    Papineni et al. (2002): exp(min(0, 1 - r/c)) times the geometric mean of the n-gram precisions
    for n = 1..4, without smoothing, so 0 where any order has no match; sacrebleu's corpus score
    over 100. An empty corpus has 0.
    """
    sums = np.asarray(statistics, dtype=np.float64)
    length, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + _ORDER], sums[..., 2 + _ORDER :]
    scored = (matched > 0).all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.log(matched / total).mean(axis=-1)
        brevity = np.minimum(0.0, 1 - reference / length)
        return np.where(scored, np.exp(brevity + precision), 0.0)


def corpus_bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: Tokenize = TOKENIZE,
    workers: int = 1,
) -> float:
    """BLEU of a whole corpus, 0 to 1; see `bleu` and `bleu_statistics`."""
    rows = bleu_statistics(predictions, references, tokenize=tokenize, workers=workers)
    return float(bleu(rows.sum(axis=0)))


def bleu_statistics(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: Tokenize = TOKENIZE,
    workers: int = 1,
) -> Integers:
    """What BLEU is the sum of, for each prediction, (N, 10), in sacrebleu's order.

    Columns: tokens of the prediction, tokens of the reference, n-grams found in both (each as often
    as in the rarer of the two) for n = 1..4, n-grams of the prediction for n = 1..4. Case is kept.
    Of several references the one nearest in length counts for the length, and the one that has an
    n-gram most often for its matches (Papineni et al., 2002, section 2).

    Raises:
        ValueError: not one reference for each prediction.
    """
    rows = partial(_bleu_rows, tokenize=tokenize)
    return _over_pairs(rows, predictions, references, workers=workers)


def rouge(
    predictions: Sequence[str], references: Sequence[str], *, workers: int = 1
) -> dict[str, Floats]:
    """ROUGE F1 for each pair, 0 to 1: type -> (N,), for rouge1, rouge2, rougeL and rougeLsum.

    Lin (2004), as rouge-score computes it: lower case, words of a-z and 0-9, no stemmer; Lsum is
    the union LCS over lines. A pair without a match, or with an empty text, has 0.

    Raises:
        ValueError: not one reference for each prediction.
    """
    return rouge_f1(rouge_statistics(predictions, references, workers=workers))


def rouge_statistics(
    predictions: Sequence[str], references: Sequence[str], *, workers: int = 1
) -> Integers:
    """What ROUGE is computed from, for each pair, (N, 6).

    Columns: matches for rouge1, rouge2, rougeL and rougeLsum, words of the prediction, words of the
    reference.

    Raises:
        ValueError: not one reference for each prediction.
    """
    return _over_pairs(_rouge_rows, predictions, references, workers=workers)


def rouge_f1(statistics: Integers) -> dict[str, Floats]:
    """F1 for each pair from `rouge_statistics`, (N, 6): type -> (N,)."""
    words = statistics[:, 4:]  # (N, 2): prediction, reference
    scores = {}
    for column, name in enumerate(ROUGE_TYPES):
        totals = np.maximum(words - 1 if name == "rouge2" else words, 1)
        precision, recall = (statistics[:, column, None] / totals).T
        with np.errstate(invalid="ignore"):
            f1 = 2 * precision * recall / (precision + recall)
        scores[name] = np.where(precision + recall > 0, f1, 0.0)
    return scores


def _over_pairs(
    rows: Callable[[Sequence[str], Sequence[Any]], Integers],
    predictions: Sequence[str],
    references: Sequence[Any],
    *,
    workers: int,
) -> Integers:
    """`rows` of all pairs, in order, by several processes where that is worth it."""
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references")
    if workers <= 1 or len(predictions) < _WORTH_WORKERS:
        return rows(predictions, references)
    starts = range(0, len(predictions), _CHUNK)
    workers = min(workers, len(starts))
    with worker_pool(workers) as pool:
        return np.concatenate(
            list(
                pool.map(
                    rows,
                    (predictions[i : i + _CHUNK] for i in starts),
                    (references[i : i + _CHUNK] for i in starts),
                )
            )
        )


def _bleu_rows(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: Tokenize,
) -> Integers:
    tokens = _tokenizer(tokenize)
    rows = np.zeros((len(predictions), 2 + 2 * _ORDER), dtype=np.int64)
    for row, prediction, reference in zip(rows, predictions, references, strict=True):
        hypothesis = tokens(prediction)
        targets = [
            tokens(text) for text in ([reference] if isinstance(reference, str) else reference)
        ]
        length = len(hypothesis)
        row[:] = (
            length,
            min((abs(len(target) - length), len(target)) for target in targets)[1],
            *(
                _matches(hypothesis, targets[0], _ORDER)
                if len(targets) == 1
                else _matches_in_any(hypothesis, targets)
            ),
            *(max(0, length - n) for n in range(_ORDER)),
        )
    return rows


def _matches_in_any(hypothesis: Sequence[str], targets: Sequence[Sequence[str]]) -> list[int]:
    """N-grams of the hypothesis, each at most as often as in the target that has most of it, for
    n = 1..4."""
    found = []
    for n in range(1, _ORDER + 1):
        most: Counter[tuple[str, ...]] = Counter()
        for target in targets:
            most |= _ngrams(target, n)
        found.append((_ngrams(hypothesis, n) & most).total())
    return found


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _tokenizer(tokenize: Tokenize) -> Callable[[str], list[str]]:
    """Ours for 13a, which most runs use and which is the slowest; sacrebleu's own otherwise."""
    if tokenize == "13a":
        return _tokens_13a
    from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
    from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    kinds: dict[Tokenize, Any] = {
        "intl": TokenizerV14International,
        "zh": TokenizerZh,
        "char": TokenizerChar,
    }
    split = kinds[tokenize]()
    return lambda text: split(text.rstrip()).split()


def _tokens_13a(text: str) -> list[str]:
    """The tokens of mteval-v13a, as sacrebleu's tokenizer gives them.

    Behind its replacements that tokenizer looks at neighbouring characters only, and takes white
    space as it takes the end: so words can be split one by one, and what they split into be kept.
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        text = text.replace("&quot;", '"').replace("&amp;", "&")
        text = text.replace("&lt;", "<").replace("&gt;", ">")
    tokens: list[str] = []
    for word in text.split():
        if word.isalnum():
            tokens.append(word)
        else:
            tokens.extend(_split_13a(word))
    return tokens


@lru_cache(maxsize=1 << 15)
def _split_13a(word: str) -> list[str]:
    """A word's tokens: each symbol, a dash after a digit, full stops and commas unless between
    digits, and what is left between these."""
    if _MARKS_BEFORE_DIGIT.search(word):
        # Here sacrebleu's rules, which consume what they match, depend on how many marks there are.
        from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

        split: str = TokenizerRegexp()(f" {word} ")  # type: ignore[no-untyped-call]  # theirs
        return split.split()
    return _TOKEN.findall(word)


def _rouge_rows(predictions: Sequence[str], references: Sequence[str]) -> Integers:
    rows = np.zeros((len(predictions), len(ROUGE_TYPES) + 2), dtype=np.int64)
    for row, prediction, reference in zip(rows, predictions, references, strict=True):
        lines, target_lines = _lines(prediction), _lines(reference)
        words, target = list(chain.from_iterable(lines)), list(chain.from_iterable(target_lines))
        longest = LCSseq.similarity(words, target)
        one_line = len(lines) <= 1 and len(target_lines) <= 1
        row[:] = (
            *_matches(words, target, 2),
            longest,
            longest if one_line else _union_lcs(lines, target_lines),
            len(words),
            len(target),
        )
    return rows


def _lines(text: str) -> Lines:
    """rouge-score's words (a-z, 0-9, in lower case), line by line, without lines that have none."""
    plain = text.lower().encode("ascii", "replace").translate(_WORDS_ONLY)
    return [words for line in plain.split(b"\n") if (words := line.split())]


def _matches(first: Sequence[Hashable], second: Sequence[Hashable], order: int) -> list[int]:
    """N-grams in both sequences, each as often as in the one with fewer of it, for n = 1..order.

    An n-gram can be in both only where the two (n-1)-grams that it is made of are: most positions
    are out after n = 2. There an n-gram is the pair of the numbers of those two.
    """
    found = [0] * order
    places: Sequence[int] = range(len(first))
    other_places: Sequence[int] = range(len(second))
    for n in range(order):
        counts, others = Counter(first), Counter(second)
        common = counts.keys() & others.keys()
        if not common:
            break
        found[n] = sum(map(min, map(counts.__getitem__, common), map(others.__getitem__, common)))
        if n + 1 < order:
            numbers = dict(zip(common, count(), strict=False))
            places, first = _joined(places, first, numbers)
            other_places, second = _joined(other_places, second, numbers)
    return found


def _joined(
    places: Sequence[int], grams: Sequence[Hashable], numbers: dict[Hashable, int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The next longer grams, of the grams that have a number and stand at following places."""
    kept = [(i, numbers[gram]) for i, gram in zip(places, grams, strict=True) if gram in numbers]
    longer = [(i, (a, b)) for (i, a), (j, b) in pairwise(kept) if j == i + 1]
    return [i for i, _ in longer], [gram for _, gram in longer]


def _union_lcs(prediction: Lines, reference: Lines) -> int:
    """ROUGE-Lsum's matches: for each line of the reference the union, over the lines of the
    prediction, of the words in their longest common subsequences (Lin 2004, section 3.2); no word
    counts more often than it is in the prediction.

    Two lines can have several longest common subsequences, and the union depends on which is taken.
    rouge-score's is the one read from both ends backwards: equal words match, else the reference
    goes back a word unless that makes the subsequence shorter. Its table is kept here as bits
    (Hyyrö 2004): one integer for each word of the prediction, with a bit for each word of the
    reference, set where the subsequence is longer with that word than without it. All reference
    lines are in it side by side, with an empty bit between them that stops the carry. Words that
    only one text has change neither the table nor the way back, but for a gap (see `_read_back`).
    """
    have = Counter(chain.from_iterable(prediction))
    places: dict[bytes, int] = {}  # word -> the bits where the reference has it
    lines_with: dict[bytes, list[int]] = {}  # word -> the reference's lines that have it
    spans = []  # of each line: its first bit, and the one after its last
    end = every = 0
    for number, line in enumerate(reference):
        matchable = [word for word in line if word in have]
        start, end = end, end + len(matchable)
        for place, word in enumerate(matchable, start):
            places[word] = places.get(word, 0) | 1 << place
        for word in set(matchable):
            lines_with.setdefault(word, []).append(number)
        spans.append((start, end))
        every |= (1 << end) - (1 << start)
        end += 1
    union = 0
    for words in prediction:
        rest = every
        shared: list[list[tuple[int, int, int]]] = [[] for _ in reference]
        for index, word in enumerate(words):
            if word in places:
                equal = places[word]
                carried = rest & equal
                rest = ((rest + carried) | (rest - carried)) & every
                row = index, equal, every ^ rest
                for number in lines_with[word]:
                    shared[number].append(row)
        for (start, end), rows in zip(spans, shared, strict=True):
            union |= _read_back(rows, len(words), start, end)
    return sum(min((bits & union).bit_count(), have[word]) for word, bits in places.items())


def _read_back(rows: list[tuple[int, int, int]], length: int, start: int, end: int) -> int:
    """The words of one reference line, bits start..end, in the longest common subsequence.

    Args:
        rows: for each word of the prediction's line that is in the reference's too: its place,
            where the reference has it, and the table's bits.
        length: words of the prediction's line.
        start: the reference line's first bit.
        end: the bit after its last.
    """
    taken = 0
    following = length
    for index, equal, longer in reversed(rows):
        # Over words that the reference's line does not have, it has gone back to where the
        # subsequence grows.
        stops = longer | equal if following == index + 1 else longer
        end = (stops & ((1 << end) - 1)).bit_length()
        if end <= start:
            break
        if equal >> (end - 1) & 1:
            end -= 1
            taken |= 1 << end
        following = index
    return taken
