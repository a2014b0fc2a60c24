"""What options of a run do nothing without: see `harness.core.declarations.Need`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.core.declarations import Need

OPENAI: Final = "openai:"
"""What the name of a model begins with where a server answers."""


def is_remote(model: str) -> bool:
    """Whether `--model` means a server's model."""
    return model.startswith(OPENAI)


def model_option(given: Mapping[str, Any]) -> str:
    """The option that names the model of a command."""
    return "teacher" if "teacher" in given else "model"


def _models(given: Mapping[str, Any]) -> Sequence[str]:
    names = given.get(model_option(given)) or []
    return [names] if isinstance(names, str) else names


def _has_size(given: Mapping[str, Any]) -> bool:
    """Minis come with the package; of other weights --size chooses none."""
    weights = given.get("weights")
    return weights == "random" or (weights is None and given["size"] == "mini")


REMOTE = Need(lambda given: any(map(is_remote, _models(given))), "--{model} openai:NAME")
LOCAL = Need(
    lambda given: bool(given.get("machine")) or not all(map(is_remote, _models(given))),
    "a {model} that is loaded here",
)
SIZED = Need(
    _has_size, "--weights random; only --size mini, of what comes with the package, stands alone"
)
VLLM = Need(lambda given: given["engine"] == "vllm", "--engine vllm")
DECODES = Need(
    lambda given: given.get("engine", "harness") == "harness" and not given.get("device_map"),
    "--engine harness, on one device",
)
WRITES = Need(lambda given: given.get("mode") != "loglikelihood", "--mode generate")
CHOOSES = Need(lambda given: given["mode"] == "loglikelihood", "that --mode")
SAMPLED = Need(lambda given: given["temperature"] > 0, "a --temperature")
