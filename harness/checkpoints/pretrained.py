"""The one way in for what transformers loads: models, configs, processors and tokenizers.

No code of a checkpoint is executed, nobody is asked whether it may be, and nothing is loaded from
outside the folder. A folder that needs any of this is refused, and the message names the key:

- `auto_map` on a part (a tokenizer, say) for which this project and transformers have no class of
  their own. Where they have one, `auto_map` is ignored.
- keys that make transformers load another model: `audio_tokenizer`, for one.
- an attention or expert kernel that is a repository on the hub: such a kernel is compiled code.

Importing this switches off transformers' question "Do you wish to run the custom code?". It imports
transformers.
"""

from __future__ import annotations

import harness.checkpoints.detection_losses  # noqa: F401  # transformers would import scipy

# isort: split

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, dynamic_module_utils
from transformers.models.auto import (
    CONFIG_MAPPING,
    FEATURE_EXTRACTOR_MAPPING,
    IMAGE_PROCESSOR_MAPPING,
    PROCESSOR_MAPPING,
    TOKENIZER_MAPPING,
    VIDEO_PROCESSOR_MAPPING,
)
from transformers.models.auto.feature_extraction_auto import feature_extractor_class_from_name
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import processor_class_from_name
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name
from transformers.models.auto.video_processing_auto import video_processor_class_from_name

from harness.checkpoints.folder import read_json
from harness.checkpoints.quantized import dequantized
from harness.checkpoints.size_check import refuse_endless_counts, refuse_other_sizes
from harness.checkpoints.tokenizer_guard import guard
from harness.core.errors import Exit, HarnessError, SampleError

dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # how many seconds it waits for a "y": it never asks

UNUSABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    SafetensorError,
    StrictDataclassError,
    SampleError,
)
"""What a folder that cannot be used makes the libraries raise."""
VLM_EXTRA = ("torchvision", "timm")
"""The packages that some types of models need and most do not: the extra `vlm`."""
_LACKS = re.compile(
    r"(?:requires the|Missing optional dependencies:) (\w+)(?: library but it was not found|[.,])"
)
"""How transformers says that a package is not installed."""
_FILES = (
    "config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "audio_tokenizer_config.json",
    "tokenizer_config.json",
    "*/tokenizer_config.json",
    "generation_config.json",
)
"""The files that name classes or other places."""
_CLASSES: Mapping[str, tuple[str, Callable[[str], Any], Any]] = MappingProxyType(
    {
        "AutoProcessor": ("processor_class", processor_class_from_name, PROCESSOR_MAPPING),
        "AutoImageProcessor": (
            "image_processor_type",
            get_image_processor_class_from_name,
            IMAGE_PROCESSOR_MAPPING,
        ),
        "AutoVideoProcessor": (
            "video_processor_type",
            video_processor_class_from_name,
            VIDEO_PROCESSOR_MAPPING,
        ),
        "AutoFeatureExtractor": (
            "feature_extractor_type",
            feature_extractor_class_from_name,
            FEATURE_EXTRACTOR_MAPPING,
        ),
        "AutoTokenizer": ("tokenizer_class", tokenizer_class_from_name, TOKENIZER_MAPPING),
    }
)
"""Part -> the key that names its class, the library's lookup by name, and that by configuration."""
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "audio_tokenizer": "another model",
        "audio_tokenizer_name_or_path": "another model",
        "use_pretrained_backbone": "another model",
        "configuration_files": "another configuration",
        "fast_tokenizer_files": "another tokenizer",
    }
)
"""Key, where it is not null or false -> what it makes the library load in its place."""
_KERNELS = ("attn_implementation", "experts_implementation", "use_kernels", "kernel_config")


def load(part: Any, source: Path | str, *, local_files_only: bool = True, **arguments: Any) -> Any:
    """What `part.from_pretrained` makes of a checkpoint, without any code of the checkpoint.

    Args:
        part: a class of transformers or of this project, an auto class as a rule.
        source: a folder; a repository's name too, where `local_files_only` is False or it is in the
            hub's cache.
        arguments: as `from_pretrained` takes them.

    Raises:
        HarnessError: the folder needs its own code, leads outside itself, or has a tokenizer that
            is not known or has no bounds.
    """
    if Path(source).is_dir():
        refuse_foreign(Path(source))
    try:
        made = part.from_pretrained(
            source, trust_remote_code=False, local_files_only=local_files_only, **arguments
        )
    except BaseException as error:  # tokenizers' own have no class of their own, or none to import
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise HarnessError(
            f"{source} cannot be loaded: its tokenizer is none that tokenizers "
            f"{version('tokenizers')} knows.",
            known=" ".join(str(error).split())[:300],
            remedy="pip install --upgrade tokenizers, or download the checkpoint again.",
            code=Exit.MISSING,
        ) from error
    guard(made[0] if isinstance(made, tuple) else made, str(source))
    return made


def unusable(folder: Path, kind: str, error: Exception) -> HarnessError:
    """The error for users of one of `UNUSABLE`.

    Args:
        kind: the model_type that the folder should have.
    """
    if package := _missing_package(error):
        known = "'harness-vlm[vlm]'" if package in VLM_EXTRA else package
        return HarnessError(
            f"{folder} cannot be loaded: {kind or 'its model'} needs the package {package}, which "
            "is not installed.",
            remedy=f"pip install {known}",
            code=Exit.MISSING,
        )
    return HarnessError(
        f"{folder} cannot be loaded as {kind or 'a model'}.",
        known=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
        remedy="Check that the download is complete and that this architecture takes images "
        "and text.",
        code=Exit.MISSING,
    )


def _missing_package(error: Exception) -> str | None:
    """The package that transformers says it lacks, or Python; None: the error is another one."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    found = _LACKS.search(str(error))
    return found[1].lower() if found else None


def load_model(part: Any, folder: Path, **arguments: Any) -> Any:
    """What `load` makes of a model, whose weights are held against its config.json first.

    Args:
        part: an auto class of models, or a class of models.

    Raises:
        HarnessError: as `load`; the weights are not those that config.json describes.
    """
    check_sizes(part, folder)
    with dequantized(folder) as whole:
        made = load(part, whole, use_safetensors=True, **arguments)
    model = made[0] if isinstance(made, tuple) else made
    model.config.name_or_path = str(folder)  # the copy is gone
    return made


def check_sizes(part: Any, folder: Path) -> None:
    """Refuse a model whose weights are not those that its config.json describes.

    Args:
        part: as for `load_model`.
    """
    config = load(AutoConfig, folder)
    # The kernels of attention have no weights, and some cannot be had without a device.
    config._attn_implementation = "eager"  # noqa: SLF001  # there is no public name
    build = part.from_config if hasattr(part, "from_config") else part
    refuse_other_sizes(folder, read_json(folder / "config.json"), partial(build, config))


def refuse_foreign(folder: Path) -> None:
    """Refuse a checkpoint that needs code of its own, leads outside its folder, or makes reading
    its config.json endless."""
    files = {
        path: data
        for pattern in _FILES
        for path in sorted(folder.glob(pattern))
        if isinstance(data := read_json(path), dict)
    }
    config = files.get(folder / "config.json", {})
    refuse_endless_counts(folder, config)
    for path, data in files.items():
        for fields in _objects(data):
            _refuse_code(path, fields, config, files.values())
            _refuse_elsewhere(path, fields)
            _refuse_kernels(path, fields)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every JSON object within `value`, and itself."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _objects(each)


def _refuse_code(
    path: Path,
    fields: Mapping[str, Any],
    config: Mapping[str, Any],
    files: Collection[Mapping[str, Any]],
) -> None:
    """Refuse an `auto_map` on a part that has no class here."""
    references = fields.get("auto_map")
    if references is None:
        return
    if not isinstance(references, dict):
        raise HarnessError(f"{path}: auto_map is not a JSON object.", code=Exit.MISSING)
    for part, reference in references.items():
        kind = fields.get("model_type", config.get("model_type"))
        named = _named(_CLASSES[part][0], [fields, *files]) if part in _CLASSES else None
        if _is_implemented(part, named, kind):
            continue
        lacking = f"no class {named}" if named else f"no such class for the model type {kind}"
        raise HarnessError(
            f"{path}: auto_map wants {part} loaded from code in the checkpoint "
            f"({_short(reference)}). Such code is never run.",
            known=f"transformers {transformers.__version__} has {lacking}.",
            remedy="Choose a checkpoint that transformers loads without trust_remote_code.",
            code=Exit.MISSING,
        )


def _named(key: str, places: Collection[Mapping[str, Any]]) -> str | None:
    """The class that stands under `key`, in the first of the places that has one."""
    return next((name for each in places if isinstance(name := each.get(key), str)), None)


def _is_implemented(part: str, named: str | None, kind: Any) -> bool:
    """Whether transformers has its own class for a part; ours are registered with it."""
    known = isinstance(kind, str) and kind in CONFIG_MAPPING
    if part not in _CLASSES:  # the configuration, and models of any kind
        return known
    _, by_name, by_config = _CLASSES[part]
    if isinstance(named, str):
        return any(by_name(name) is not None for name in (named, named.removesuffix("Fast")))
    return known and CONFIG_MAPPING[kind] in by_config


def _short(value: object) -> str:
    return str(value)[:80]


def _refuse_elsewhere(path: Path, fields: Mapping[str, Any]) -> None:
    for key, loaded in _ELSEWHERE.items():
        if fields.get(key):
            raise HarnessError(
                f"{path}: {key} makes transformers load {loaded} ({_short(fields[key])}). A "
                "checkpoint leads nowhere but into its own folder.",
                remedy=f"Remove {key} from {path.name}.",
                code=Exit.MISSING,
            )


def _refuse_kernels(path: Path, fields: Mapping[str, Any]) -> None:
    """Refuse kernels from the hub; sdpa, eager and the like are the library's own."""
    for key, value in fields.items():
        bare = key.removeprefix("_").removesuffix("_internal")
        if bare not in _KERNELS or not value:
            continue
        names = value.values() if isinstance(value, dict) else [value]
        if bare.endswith("implementation") and not any("/" in str(name) for name in names):
            continue
        raise HarnessError(
            f"{path}: {key} asks for compiled code from the hub ({_short(value)}), which is never "
            "run.",
            remedy=f"Remove {key} from {path.name}.",
            code=Exit.MISSING,
        )
