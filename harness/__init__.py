"""A benchmark harness for small vision-language models, and structured reasoning distillation."""

__version__ = "0.1.0"
