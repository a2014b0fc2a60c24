"""A small tokenizer, trained on the spot, for checkpoints of small vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CORPUS = (
    "Question: Which of these states is farthest west? Options: A: Alabama, B: Illinois Answer: B",
    "The answer is A. The image is a map of the United States with a compass rose.",
    "Think about the magnetic force between the magnets in each pair. Which statement is true?",
    "<SUMMARY> </SUMMARY> <CAPTION> </CAPTION> <REASONING> </REASONING> <CONCLUSION> </CONCLUSION>",
    "Answer with the letter of the correct option. What is the capital of Wyoming? Cheyenne",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:;!?()[]{}<>/|_-+*=%&#@'\"",
)

MINI_VOCABULARY = 1000
"""Most pieces of a mini's tokenizer, control tokens and bytes included."""


def train_tokenizer(
    *,
    special_tokens: Sequence[str],
    corpus: Sequence[str] = CORPUS,
    vocab_size: int = 512,
    bos_token: str | None = None,
    eos_token: str | None = None,
    pad_token: str | None = None,
    unk_token: str | None = None,
    add_bos: bool = False,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that can spell any text.

    Args:
        special_tokens: they take the first ids, in this order; the named ones must be among them.
        corpus: what its pieces are learned from.
        vocab_size: an upper limit; bytes and special tokens are always there.
        add_bos: put `bos_token` before every text, as Llama's tokenizers do.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    if add_bos:
        if bos_token is None:
            raise ValueError("add_bos needs a bos_token")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos_token} $A",
            pair=f"{bos_token} $A {bos_token} $B",
            special_tokens=[(bos_token, tokenizer.token_to_id(bos_token))],
        )
    names = {"bos_token": bos_token, "eos_token": eos_token, "pad_token": pad_token}
    names["unk_token"] = unk_token
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=[t for t in special_tokens if t not in names.values()],
        **{key: value for key, value in names.items() if value is not None},
    )
