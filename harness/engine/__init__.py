"""The decoding engine: many prompts in one batch that is never waited for.

    rows       one prompt as tensors, and several of them as a batch
    prefetch   preparing runs ahead, in processes of its own
    batching   who waits, and who is seated next
    sizing     how many rows fit into memory, and what to do when they do not
    cache      keys and values of all seats, in memory that is taken once
    graphs     a step as one launch, on a GPU
    decoding   the loop: seat, step, let go

A row leaves the batch the moment it is finished and the next prompt takes its seat. Decoding is
greedy, and in float32 the tokens are those of transformers' `generate`, whatever else is in the
batch. What the engine needs of a model is `decoding.Reader`, and no more; it imports none.
"""
