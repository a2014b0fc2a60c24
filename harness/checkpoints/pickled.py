"""What helps where a checkpoint has its weights as pickles only, which harness never loads.

Who trusts a pickle's author converts it once, in a process of their own: the printed command loads
tensors alone (`weights_only`) into the class of transformers, or ours, that the folder is for.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.checkpoints.catalog import pinned
from harness.checkpoints.hub import Repository, files
from harness.core.errors import Exit, HarnessError

OLD_NAMES: Mapping[str, dict[str, str]] = MappingProxyType(
    # No "$" at the end: the library turns the pattern round when it saves, and would keep it.
    {"ViltForMaskedLM": {r"^mlm_score\.bias": "mlm_score.decoder.bias"}}
)
"""Architecture -> names of tensors as releases of transformers before 5 saved them, as patterns,
and their names today; without these the library would leave such tensors out."""
_ARCHITECTURES_OF_OLD = frozenset({"ViltForMaskedLM", "ViltForQuestionAnswering"})
"""Those whose pickles the hub's converter does not turn into what transformers reads today."""
_OURS = MappingProxyType(
    {"moondream1": "MoondreamForConditionalGeneration", "phi3_v": "Phi3VForCausalLM"}
)


def without_safetensors(
    folder: Path, config: Mapping[str, Any], repo: Repository | None
) -> HarnessError:
    """The error for a checkpoint that has no *.safetensors, with the remedy for its kind."""
    names = files(repo) if repo else [path.name for path in folder.iterdir()]
    pickles = sorted(name for name in names if name.startswith("pytorch_model"))
    known = "Weights in another format are not loaded, and pickles never." if repo else ""
    if pickles:
        known = f"It has {pickles[0]}, a pickle, which is never loaded."
    return HarnessError(
        f"{repo or folder} has no *.safetensors.",
        known=known,
        remedy=_remedy(folder, config, repo) if pickles or repo else "",
        code=Exit.MISSING,
    )


def _remedy(folder: Path, config: Mapping[str, Any], repo: Repository | None) -> str:
    if repo is None:
        command = conversion(str(folder), config)
        return f"Convert it, if you trust its author: {command}" if command else ""
    if repo.revision != (better := pinned(repo.name)) and better:
        return f"--model-revision {better} has them."
    copy = repo.name.rpartition("/")[2]
    command = conversion(copy, config)
    if command and _ARCHITECTURES_OF_OLD.intersection(config.get("architectures") or ()):
        return (
            f"Convert a copy, if you trust its author: {repo.command} --local-dir {copy}\n"
            f"{command}\nharness eval --model {copy}"
        )
    return (
        "https://huggingface.co/spaces/safetensors/convert opens a pull request with them in the "
        "repository; then --model-revision refs/pr/N, where N is its number."
    )


def conversion(folder: str, config: Mapping[str, Any]) -> str:
    """The command that writes *.safetensors next to a folder's pickles; "" where no class is known.

    Args:
        config: the folder's config.json.
    """
    import transformers

    named = (config.get("architectures") or [""])[0]
    name = _OURS.get(config["model_type"], named)
    package = "harness.models" if config["model_type"] in _OURS else "transformers"
    known = isinstance(name, str) and name.isidentifier()
    if not known or (package == "transformers" and not hasattr(transformers, name)):
        return ""
    renamed = f", key_mapping={json.dumps(OLD_NAMES[name])}" if name in OLD_NAMES else ""
    path = json.dumps(folder)
    code = (
        f"from {package} import {name} as M; "
        f"M.from_pretrained({path}, weights_only=True{renamed}).save_pretrained({path})"
    )
    return f"python -c {shlex.quote(code)}"
