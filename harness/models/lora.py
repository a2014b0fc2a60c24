"""LoRA adapters: load one, check it against the model, and merge it into the weights.

An adapter_config.json can come from anywhere. Of its keys those that peft would import a module for
are dropped, other kinds of adapter are refused, and its regular expressions have to end in time.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel

from harness.checkpoints import pretrained
from harness.checkpoints.folder import read_json
from harness.core.errors import Exit, HarnessError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_DROPPED = (
    "megatron_core",  # a module that peft imports
    "megatron_config",
    "auto_mapping",  # a module and a class, to load the base
    "base_model_name_or_path",  # the base is the model that is loaded
)
_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "target_modules": "{}",
        "exclude_modules": "{}",
        "target_parameters": "{}",
        "layers_pattern": r"(?:^|.*?\.){}\.(\d+)\.",
        "modules_to_save": r"(^|.*\.){}($|\..*)",
        "rank_pattern": r"(.*\.)?({})$",
        "alpha_pattern": r"(.*\.)?({})$",
    }
)
"""Key with regular expressions -> what peft makes of one. A list without a template of its own
holds names."""
_LONGEST_MATCH = 10.0
"""Seconds for all regular expressions of an adapter on all names of a model."""
# Numbers the pattern that it begins with, so that the one that does not end is known.
_MATCHER = """
import json, re, sys
for number, pattern in enumerate(json.loads(sys.stdin.readline())):
    print(number, flush=True)
    compiled = re.compile(pattern)
    if number == 0:
        names = json.loads(sys.stdin.readline())
    for name in names:
        compiled.fullmatch(name)
"""


def merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with the adapter in `folder` merged into its weights.

    Raises:
        HarnessError: peft is not installed, or the adapter does not fit the model.
    """
    if importlib.util.find_spec("peft") is None:
        raise HarnessError("--adapter needs the package peft.", remedy="pip install peft")
    from peft import PeftModel, get_peft_model_state_dict

    fields = _fields(folder, [name for name, _ in model.named_modules()])
    try:
        adapted = PeftModel.from_pretrained(
            model, str(folder), config=_config(fields), use_safetensors=True
        )
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            missing = set(get_peft_model_state_dict(adapted)) - set(file.keys())
    except pretrained.UNUSABLE as error:
        raise HarnessError(
            f"{folder} cannot be used as a LoRA adapter of {type(model).__name__}.",
            known=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            code=Exit.MISSING,
        ) from error
    if missing:  # the library would leave these out silently
        raise HarnessError(
            f"{folder} lacks {len(missing)} tensors of its adapter: {min(missing)} ...",
            remedy="Save the adapter again, from the model it was trained on.",
            code=Exit.MISSING,
        )
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def _fields(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The adapter's configuration, without what leads elsewhere.

    Args:
        names: the model's modules, which the configuration's regular expressions are matched with.
    """
    path = folder / CONFIG
    fields = read_json(path)
    kind = fields.get("peft_type") if isinstance(fields, dict) else None
    if kind != "LORA":
        raise HarnessError(
            f"{folder} cannot be used as a LoRA adapter: its {CONFIG} says that its peft_type is "
            f"{json.dumps(kind)[:80]}, not LORA.",
            code=Exit.MISSING,
        )
    _refuse_endless(path, _patterns(fields), names)
    return {key: value for key, value in fields.items() if key not in _DROPPED}


def _config(fields: Mapping[str, Any]) -> Any:
    """Peft's own configuration; raises what peft raises."""
    from peft import LoraConfig

    return LoraConfig.from_peft_type(**fields)


def _patterns(fields: Mapping[str, Any]) -> list[str]:
    """The regular expressions in a configuration, as peft uses them; plain names are none."""
    found = []
    for key, template in _PATTERNS.items():
        value = fields.get(key)
        if isinstance(value, list | dict):
            each = [] if template == "{}" else [str(item) for item in value]
        else:
            each = [value] if isinstance(value, str) else []
        found += [template.replace("{}", one) for one in each if not _is_plain(one)]
    return found


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[\w.-]*", name) is not None


def _refuse_endless(path: Path, patterns: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a regular expression that does not end, or is none. Python cannot interrupt one, so
    they are tried in a process of their own."""
    if not patterns:
        return
    given = f"{json.dumps(patterns)}\n{json.dumps(names)}\n"
    try:
        run = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _MATCHER],
            input=given,
            capture_output=True,
            text=True,
            timeout=_LONGEST_MATCH,
            check=False,
        )
        reached, reason = run.stdout, "is not a regular expression"
        if run.returncode == 0:
            return
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        reached = output if isinstance(output, str) else output.decode()
        reason = f"does not end within {_LONGEST_MATCH:g} s on the names of the model's modules"
    number = int(reached.split()[-1]) if reached.split() else 0
    raise HarnessError(
        f"{path}: the pattern {patterns[number][:120]!r} {reason}.",
        remedy="Name the modules in a list.",
        code=Exit.MISSING,
    )
