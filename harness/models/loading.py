"""From a checkpoint folder to a model that answers prompts. No code in the folder is run."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from harness.checkpoints import pretrained
from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.picture_processor import load_processor
from harness.core import devices
from harness.core.errors import Exit, HarnessError
from harness.core.types import Model, Prompt
from harness.families import family_of
from harness.families.tested import is_tested
from harness.models import lora
from harness.models.generative import GenerativeModel
from harness.models.model_runners import runner_for
from harness.models.prompt_format import PromptFormat, prompt_format_for
from harness.models.streaming import StreamingModel

log = logging.getLogger(__name__)

DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in devices.DTYPES}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a checkpoint is put on a device."""

    device: str
    """As torch names it: cpu, cuda, cuda:1, mps."""
    dtype: str
    """A key of DTYPES."""
    attention: str | None = None
    """sdpa, eager, flash_attention_2 ...; None: the library's choice."""
    quantize: str | None = None
    """nf4: weights in 4 bits, by bitsandbytes; the dtype is then that of the computation."""
    unquantized: tuple[str, ...] = ()
    """Modules whose weights keep the dtype all the same."""
    device_map: str | Mapping[str, str] | None = None
    """auto: over all devices, as accelerate finds; or module -> device. None: all on `device`."""
    processor_args: Mapping[str, Any] = field(default_factory=dict)
    chat_template: ChatTemplate | None = None
    """The user's, in place of the checkpoint's way of wording a prompt."""
    engine: str = "harness"
    """harness: the decoding engine, where it knows the architecture; transformers: `generate`."""
    compiles: bool = False
    """Compile the decoding engine's decode step."""


def load(checkpoint: Checkpoint, options: LoadOptions) -> Model:
    """The model of `checkpoint`, ready to answer.

    Raises:
        HarnessError: the folder cannot be used as it is (exit 3).
    """
    if options.device.startswith("cuda:"):
        torch.cuda.set_device(options.device)  # what names no device goes to the current one
    if options.dtype == "float32":
        devices.keep_float32_exact()
    try:
        return _load(checkpoint, options)
    except pretrained.UNUSABLE as error:
        detail = " ".join(str(error).split())
        if options.device_map and "offload_folder" in detail:
            raise HarnessError(
                f"{checkpoint.folder} does not fit into the devices and this machine's memory.",
                remedy="--quantize nf4, a shorter --dtype, or a larger machine.",
                code=Exit.MISSING,
            ) from error
        raise pretrained.unusable(checkpoint.folder, checkpoint.model_type, error) from error


def _load(checkpoint: Checkpoint, options: LoadOptions) -> Model:
    family = family_of(checkpoint.model_type)
    if family.check_folder:
        family.check_folder(checkpoint.folder)
    processor = processor_of(checkpoint, options.processor_args)
    if family.own_model:
        model = network_of(checkpoint, options)
        return family.own_model.assemble(model, processor, options.device)
    _refuse_other_kinds(checkpoint.folder)
    format_ = prompt_format_for(processor, checkpoint, options.chat_template)
    model = network_of(checkpoint, options)
    return _assemble(model, processor, checkpoint, options, prompt_format=format_)


def assemble(model: PreTrainedModel, checkpoint: Checkpoint, options: LoadOptions) -> Model:
    """The same for a network that is in memory, and stays as and where it is.

    Its generation settings and methods are changed: see `harness.models.in_memory.borrowed`.

    Args:
        checkpoint: its configuration, and a folder with its processor.
        options: with the device and the dtype that the network has.

    Raises:
        HarnessError: the network or its processor cannot be used.
    """
    try:
        family = family_of(checkpoint.model_type)
        processor = processor_of(checkpoint, options.processor_args)
        if family.own_model:
            return family.own_model.assemble(model, processor, options.device)
        format_ = prompt_format_for(processor, checkpoint, options.chat_template)
        return _assemble(model, processor, checkpoint, options, prompt_format=format_)
    except pretrained.UNUSABLE as error:
        raise HarnessError(
            f"The {type(model).__name__} in memory cannot be used with this processor.",
            known=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            remedy="Pass the processor that AutoProcessor.from_pretrained makes of its checkpoint.",
            code=Exit.MISSING,
        ) from error


def _assemble(
    model: PreTrainedModel,
    processor: Any,
    checkpoint: Checkpoint,
    options: LoadOptions,
    *,
    prompt_format: PromptFormat,
) -> Model:
    """The engine, or transformers' `generate`, around a network."""
    family = family_of(checkpoint.model_type)
    if family.repair:
        family.repair(model, processor, checkpoint)
    arguments: dict[str, Any] = {
        "prompt_format": prompt_format,
        "device": options.device,
        "family": family,
    }
    if options.device_map:
        # The engine keeps what it computes on one device.
        return GenerativeModel(model, processor, **arguments)
    runner = runner_for(model, family) if options.engine == "harness" else None
    if runner is not None:
        return StreamingModel(
            model, processor, runner=runner, compiles=options.compiles, **arguments
        )
    if options.compiles:
        raise HarnessError(
            f"--compile is the decoding engine's, which does not run {checkpoint.name}.",
            remedy="Leave --compile out.",
        )
    if not is_tested(checkpoint.model_type):
        _say_generic(checkpoint.model_type, prompt_format.origin)
    elif options.engine == "harness":
        log.info("%s is run by transformers: the engine does not know it", checkpoint.name)
    return GenerativeModel(model, processor, **arguments)


@cache
def _say_generic(model_type: str, template: str) -> None:
    """Say once what it means that there is no family for a type."""
    log.warning(
        "No test has a model of the type %s. It runs as any type does: by transformers' generate, "
        "in batches whose pictures have one shape; template: %s. harness check compares answers "
        "alone with those in a batch.",
        model_type,
        template,
    )


def load_prompt_text(
    checkpoint: Checkpoint, arguments: Mapping[str, Any], template: ChatTemplate | None
) -> Callable[[Prompt], str]:
    """What makes the text that the model's tokenizer gets, from the processor alone.

    Args:
        arguments: of the processor.
        template: the user's, in place of the checkpoint's way of wording a prompt.

    Raises:
        HarnessError: the folder cannot be used as it is (exit 3).
    """
    try:
        processor = processor_of(checkpoint, arguments)
        if own := family_of(checkpoint.model_type).own_model:
            return own.prompt_text(checkpoint.folder, processor)
        return prompt_format_for(processor, checkpoint, template)
    except pretrained.UNUSABLE as error:
        raise pretrained.unusable(checkpoint.folder, checkpoint.model_type, error) from error


def _refuse_other_kinds(folder: Path) -> None:
    """Refuse what is no image-text model, before its chat template is missed.

    Raises:
        ValueError: it is of another kind, or of one that transformers does not know.
    """
    config = pretrained.load(AutoConfig, folder)
    if type(config) not in AutoModelForImageTextToText._model_mapping:  # noqa: SLF001  # no public name
        raise ValueError(f"{config.model_type} is no image-text model of transformers")


def network_of(checkpoint: Checkpoint, options: LoadOptions) -> PreTrainedModel:
    """The network of a checkpoint on its device, whole, with an adapter merged into it.

    Raises:
        HarnessError: its weights are not all there, or do not fit.
    """
    own = family_of(checkpoint.model_type).own_model
    load_weights = (
        own.load_weights if own else partial(pretrained.load_model, AutoModelForImageTextToText)
    )
    loaded: Any = load_weights(
        checkpoint.folder,
        dtype=DTYPES[options.dtype],
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        **_placement(checkpoint, options),
    )
    model: PreTrainedModel = loaded[0]
    _check_loaded(checkpoint.folder, loaded[1])
    if checkpoint.lora:
        model = lora.merge(model, checkpoint.lora)
    if options.device_map and not getattr(model, "hf_device_map", None):
        # The library names no places where one will do.
        model.hf_device_map = {"": options.device}  # type: ignore[assignment]  # a plain attribute
    if not (options.quantize or options.device_map):
        model.to(torch.device(options.device))  # type: ignore[arg-type]  # a wrapper hides its signature
    return model.eval()


def _placement(checkpoint: Checkpoint, options: LoadOptions) -> dict[str, Any]:
    """The library's arguments for devices, attention kernel and quantization."""
    arguments: dict[str, Any] = {}
    if options.device_map:
        _refuse_spreading(checkpoint)
        arguments["device_map"] = options.device_map
    if options.attention:
        arguments["attn_implementation"] = _known_attention(options.attention)
    if options.quantize:
        arguments["quantization_config"] = _quantization(options)
        # Such weights are put on their device as they load.
        arguments["device_map"] = options.device_map or options.device
    return arguments


def _check_loaded(folder: Path, info: Mapping[str, Any]) -> None:
    """Refuse weights that do not fit the model or are not all there.

    Args:
        info: the library's report on what it loaded.
    """
    if mismatched := sorted(info["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise HarnessError(
            f"{folder}: the weights do not fit config.json: {name} is "
            f"{list(found)}, not {list(wanted)} ...",
            remedy="Download the checkpoint again; its files do not belong together.",
            code=Exit.MISSING,
        )
    if missing := sorted(info["missing_keys"]):
        raise HarnessError(
            f"{folder} lacks {len(missing)} tensors of its architecture: "
            f"{', '.join(missing[:3])} ...",
            known="They would be random numbers.",
            remedy="Download the checkpoint again.",
            code=Exit.MISSING,
        )
    if unexpected := sorted(info["unexpected_keys"]):
        log.warning(
            "%s holds %d tensors that are not used: %s ...",
            folder.name,
            len(unexpected),
            unexpected[0],
        )


def _refuse_spreading(checkpoint: Checkpoint) -> None:
    """Refuse what cannot be spread over several devices."""
    family = family_of(checkpoint.model_type)
    if family.own_model:
        raise HarnessError(f"--device-map: {family.title} is small, and goes on one device.")
    if checkpoint.lora:
        raise HarnessError(
            "--device-map does not merge an adapter: its layers lie on several devices.",
            remedy="Merge it once and for all with peft's merge_and_unload, and save that.",
        )


def _known_attention(name: str) -> str:
    """`name`, if it is a kernel of the library's; it takes any other for code on the hub."""
    known = ["eager", *(key for key in AttentionInterface().valid_keys() if "|" not in key)]
    if name not in known:
        raise HarnessError(
            f"--attn {name}: there is no such kernel.", known=f"There are {', '.join(known)}."
        )
    return name


def _quantization(options: LoadOptions) -> BitsAndBytesConfig:
    """4-bit NormalFloat, as the paper's code loads LLaVA-NeXT."""
    missing = importlib.util.find_spec("bitsandbytes") is None
    if missing or not options.device.startswith("cuda"):
        raise HarnessError(
            f"--quantize {options.quantize} needs bitsandbytes and a CUDA device.",
            known="bitsandbytes is not installed." if missing else f"Device: {options.device}.",
            remedy="pip install bitsandbytes" if missing else "--device cuda",
            code=Exit.MISSING,
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=DTYPES[options.dtype],
        llm_int8_skip_modules=list(options.unquantized) or None,
    )


def processor_of(checkpoint: Checkpoint, arguments: Mapping[str, Any]) -> Any:
    """The folder's processor, with what older folders leave empty filled from the config."""
    family = family_of(checkpoint.model_type)
    try:
        processor = load_processor(checkpoint.folder, **family.processor_arguments, **arguments)
    except TypeError as error:
        if not arguments:
            raise
        raise HarnessError(f"--processor-arg {', '.join(arguments)}: {error}.") from error
    _check_arguments(processor, arguments)
    if not hasattr(processor, "image_processor"):
        raise HarnessError(
            f"{checkpoint.folder} has no image processor.",
            known="preprocessor_config.json or processor_config.json is missing, or the "
            "architecture takes no images.",
            code=Exit.MISSING,
        )
    if family.complete_processor:
        family.complete_processor(processor, checkpoint.config)
    return processor


def _check_arguments(processor: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse a --processor-arg that nothing takes: the library ignores such a one silently."""
    parts = [
        processor,
        *(getattr(processor, name, None) for name in ("image_processor", "tokenizer")),
    ]
    for key in arguments:
        if not any(hasattr(part, key) for part in parts if part is not None):
            raise HarnessError(
                f"--processor-arg {key}: {type(processor).__name__} has no such setting.",
                remedy="See the keys of preprocessor_config.json.",
            )
