"""Where completions come from: weights that are loaded here, vLLM, a model in memory,
or a server.

A kind of source is one file here and its line in `registry`. What a run may ask of it is in its
`Capabilities`; nothing outside asks for its type.
"""
