"""Models on a server with an OpenAI-compatible API.

`endpoint` says which address that is, `client` sends requests to it and tries again (`transport`,
`exchange`, `retries`, `completions`), `model` gives it the `Model` protocol, and `served` is
its counterpart of weights that were found. Nothing here needs torch.
"""
