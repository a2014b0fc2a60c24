"""Imported once, by the process that `tests.commands` forks `harness` from: all of our packages, and
what transformers imports for the families of the tests. Nothing here starts a
thread, which a fork would lose."""

import os

os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # else pyarrow's allocator has one

import gc
import importlib
import pkgutil

import transformers

import distill
import harness
import reports
import tasks

CLASSES = (
    *("AutoConfig", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoProcessor"),
    *("LlavaForConditionalGeneration", "LlavaProcessor", "CLIPImageProcessor", "CLIPVisionModel"),
    *("MllamaForConditionalGeneration", "MllamaProcessor", "LlamaForCausalLM"),
    *("SiglipVisionModel", "PhiForCausalLM", "ViltForQuestionAnswering", "ViltProcessor"),
)


def _import_all() -> None:
    for package in (harness, tasks, distill, reports):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in CLASSES:
        getattr(transformers, name)
    importlib.import_module("transformers.generation.utils")


_import_all()
gc.collect()
gc.freeze()  # a child's collector leaves the parent's pages alone, and shares them
