"""Models that somebody else's server runs, behind an OpenAI-compatible address.

`endpoint` says which address that is, `client` talks to it, `model` puts it behind the `Model`
protocol, and `served` is its counterpart of weights that were found. Nothing here needs torch.
"""
