"""Devices and number formats, on machines that are described rather than there."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from harness.core import devices
from harness.core.devices import Accelerators, resolve_device, resolve_dtype
from harness.core.errors import HarnessError
from harness.engine.memory import free_memory
from harness.engine.prefetch import ahead
from harness.models.loading import LoadOptions, load

NONE = Accelerators()
A100 = Accelerators(gpus=2)
T4 = Accelerators(gpus=1, bfloat16=False)
MAC = Accelerators(mps=True)
OLD_MAC = Accelerators(mps=True, bfloat16=False)


@pytest.mark.parametrize(
    ("machine", "device", "dtype"),
    [
        (NONE, "cpu", "float32"),
        (A100, "cuda", "bfloat16"),
        (T4, "cuda", "float16"),
        (MAC, "mps", "bfloat16"),
        (OLD_MAC, "mps", "float16"),
    ],
)
def test_auto_takes_the_best(machine: Accelerators, device: str, dtype: str) -> None:
    """A GPU, or else a Mac's; in bfloat16 where it computes in that itself."""
    assert resolve_device("auto", lambda: machine) == device
    assert resolve_dtype("auto", device, lambda: machine) == dtype
    assert resolve_dtype("bf16", device, lambda: machine) == "bfloat16"


def test_emulated_bfloat16_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line names the format that is taken, and the option that chooses another."""
    devices._say_float16.cache_clear()
    for _ in range(2):
        resolve_dtype("auto", "cuda", lambda: T4)
    (line,) = caplog.messages
    assert line == "cuda does not compute in bfloat16: float16 is taken; --dtype chooses"


@pytest.mark.parametrize(
    ("machine", "device", "said"),
    [
        (A100, "cuda:2", "this machine has cuda:0 to cuda:1 only"),
        (T4, "cuda:1", "this machine has cuda:0 only"),
        (MAC, "mps:1", "this machine has mps only"),
        (NONE, "quantum", "--device quantum"),
    ],
)
def test_a_device_that_is_not_there(machine: Accelerators, device: str, said: str) -> None:
    """Those that are there are named, not a number of CUDA's errors."""
    with pytest.raises(HarnessError, match=said) as caught:
        resolve_device(device, lambda: machine)
    assert "auto, cpu, cuda or cuda:N; on a Mac, mps" in caught.value.remedy


@pytest.mark.parametrize(("machine", "device"), [(A100, "cuda:1"), (T4, "cuda"), (MAC, "mps")])
def test_a_device_that_is_there(machine: Accelerators, device: str) -> None:
    """It is taken as it was named."""
    assert resolve_device(device, lambda: machine) == device


def test_a_mac_lets_its_cpu_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is told so before it is imported; a user's own setting stays."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: False)
    for before, after in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", before)
        if not torch.cuda.is_available():
            assert devices.find_accelerators() == OLD_MAC
            assert os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == after


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_a_mac_is_waited_for_and_gives_memory_back(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """Clocks and memory ask the device that they are about."""
    asked: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: asked.append("synchronize"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: asked.append("empty_cache"))
    devices.synchronize(device)
    devices.release_memory(device)
    devices.synchronize("cpu")
    devices.release_memory("cpu")
    assert asked == ["synchronize", "empty_cache"]


def test_the_memory_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its system recommends, less what is held already; never less than nothing."""
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10)
    for held, free in ((3, 7), (12, 0)):
        monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda held=held: held)
        assert free_memory(torch.device("mps")) == free


def test_float32_is_float32(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is promised no convolution is left to TF32, which torch allows by default."""
    from harness.checkpoints.resolve import find_checkpoint

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    load(find_checkpoint(str(tiny("vilt"))), LoadOptions(device="cpu", dtype="float32"))
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.process
def test_preparing_ahead_opens_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under --device cpu, on a machine that has one: pinned memory would take some of its own."""
    if torch.cuda.is_initialized():
        pytest.skip("another test has opened it")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert list(ahead(str, [1, 2], workers=1)) == ["1", "2"]
