"""What a command loads before it can say something."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from harness.checkpoints import pretrained
from harness.core import devices
from harness.core.errors import HarnessError

LOADED = """
import json, sys
from harness import cli
sys.argv = ["harness", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as error:
    assert not error.code, error.code
heavy = {"torch", "transformers", "datasets", "pandas", "scipy"}
print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)
"""


@pytest.mark.process
def test_a_finished_run_answers_without_torch(command, tiny, drawn: Path, tmp_path: Path) -> None:
    """The same command again says what is recorded: nothing of the model is loaded, only hashed."""
    arguments = [
        *("eval", "--model", tiny("vilt"), "--task", "scienceqa", "--data", drawn, "--limit", 4),
        *("--runs", tmp_path / "runs", "--device", "cpu", "--json"),
    ]
    first = command(*arguments)
    assert first.code == 0, first.stderr
    again = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(again.stdout)["runs"][0]["metrics"] == first.json["runs"][0]["metrics"]
    assert again.stderr.splitlines()[-1] == "[]", again.stderr


def test_scipy_waits_for_a_loss_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model classes import every loss without it; those of object detection work."""
    text = Path(pretrained.__file__).read_text(encoding="utf-8")
    first = next(
        line for line in text.splitlines() if re.match("(import|from) (?!__future__)", line)
    )
    assert first.startswith("import harness.checkpoints.detection_losses")
    for name in [name for name in sys.modules if name.startswith("transformers.loss.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "scipy.optimize", raising=False)
    monkeypatch.delitem(sys.modules, "harness.checkpoints.detection_losses")
    import_module("harness.checkpoints.detection_losses")
    losses = import_module("transformers.loss.loss_utils")
    detection = import_module("transformers.loss.loss_for_object_detection")
    assert "scipy.optimize" not in sys.modules
    assert losses.LOSS_MAPPING["ForObjectDetection"]
    rows, columns = detection.linear_sum_assignment([[3, 1], [1, 3]])
    assert (list(rows), list(columns)) == ([0, 1], [1, 0])
    assert import_module("scipy.optimize").minimize


def test_torch_is_asked_for_a_device_where_there_may_be_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not for the CPU, and not on a Linux machine whose drivers are not loaded."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    for there, found in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(devices, "_may_have_accelerators", lambda there=there: there)
        assert devices.resolve_device("auto") == found
    assert devices.resolve_device("cpu") == "cpu"
    with pytest.raises(HarnessError, match="Choose auto, cpu, cuda or cuda:N"):
        devices.resolve_device("nowhere")


def test_every_number_format_has_a_short_name() -> None:
    """The default goes by the device; a name that is none lists those that there are."""
    assert devices.resolve_dtype("auto", "cpu") == "float32"
    assert devices.resolve_dtype("auto", "cuda:1", devices.Accelerators) == "bfloat16"
    for short, name in (("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")):
        assert devices.resolve_dtype(short, "cpu") == devices.resolve_dtype(name, "cpu") == name
    with pytest.raises(HarnessError, match="choose auto, float32, bfloat16, float16"):
        devices.resolve_dtype("fp8", "cpu")
