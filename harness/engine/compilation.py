"""The decode step, compiled by torch: fewer kernels, each of which does the work of several.

A step is one graph without breaks. Its shapes are dynamic, so that the number of slots, the KV
length and the capacity need no other one: there are at most MAX_GRAPHS, because torch makes one of
its own for a single slot, and another where all slots are occupied.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from harness.core.errors import Exit, HarnessError
from harness.engine.decode_step import decode
from harness.engine.model_runner import ModelRunner

MAX_GRAPHS = 3


class CompiledDecode:
    """`decode`, compiled when it first runs.

    Args:
        backend: of torch.compile; "eager" compiles nothing and runs the graph that was found.
        own_lengths: attention reads each slot's own tokens, with a kernel that the runner has, and
            a step is the same for all KV lengths.

    Raises:
        HarnessError: there is no compiler for this device; when it runs, what it says.
    """

    def __init__(
        self, device: torch.device, *, backend: str = "inductor", own_lengths: bool = False
    ) -> None:
        _check_compiler(device)
        self.own_lengths = own_lengths
        self._compiled: Callable[..., Any] = torch.compile(
            decode, fullgraph=True, dynamic=True, backend=backend
        )

    def __call__(self, runner: ModelRunner, *arguments: Any) -> None:
        from torch._dynamo.exc import TorchDynamoException
        from torch.fx.experimental import _config

        settings: Any = _config
        kernel = runner.reading_own_lengths() if self.own_lengths else nullcontext()
        try:
            # Sizes that are equal by chance stay apart, or other ones would need another graph.
            with settings.patch(use_duck_shape=False), kernel:
                self._compiled(runner, *arguments)
        except TorchDynamoException as error:
            raise HarnessError(
                "--compile: torch cannot compile the decode step of this model.",
                known=" ".join(str(error).split())[:500],
                remedy="Leave --compile out.",
            ) from error


def _check_compiler(device: torch.device) -> None:
    """Refuse a device that torch has no compiler for."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise HarnessError(
                "--compile needs Triton on a GPU, and it is not installed.",
                remedy="pip install triton, or leave --compile out.",
                code=Exit.MISSING,
            )
        return
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise HarnessError(
            f"--compile needs a C++ compiler on this device, and {name} is not here.",
            remedy="Install one (apt install g++) or name it in the variable CXX, or leave "
            "--compile out.",
            code=Exit.MISSING,
        )
