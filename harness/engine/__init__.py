"""The decoding engine: continuous batching over one KV cache.

    encoded_prompts       one prompt as tensors, and several of them as a batch
    prefetch              preparing prompts ahead, in worker processes
    staging               the way of inputs to the device
    scheduling            requests, and which of them are prefilled next
    image_features        what the vision encoder made of images, kept between requests
    memory                what is free, what a pass takes, and what running out of it looks like
    budget                how much goes into one pass, and how many slots fit next to it
    model_runner          what the engine needs of a model
    vision_passes         the vision encoder, in passes of bounded size
    kv_cache              keys and values of all slots, in memory that is taken once
    prefill               run prompts, and put their keys and values into free slots
    decode_step           one token for every occupied slot; a CUDA graph on a GPU
    compilation           the decode step, compiled by torch
    continuous_batching   the loop: admit, decode, retire

A request leaves the batch the moment it is finished, and the next one takes its slot. Decoding is
greedy, and in float32 the tokens are those of transformers' `generate`, whatever else is in the
batch. The engine imports no model: it runs whatever is a `model_runner.ModelRunner`.
"""
