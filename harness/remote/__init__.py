"""Models that somebody else's server runs, behind an OpenAI-compatible address.

`endpoint` says which address that is, `client` sends requests to it and tries again (`transport`,
`exchange`, `retries`, `completions`), `model` puts it behind the `Model` protocol, and `served` is
its counterpart of weights that were found. Nothing here needs torch.
"""
