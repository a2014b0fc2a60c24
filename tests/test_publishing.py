"""`--push-to-hub`: what is sent to a server that answers as the hub does, and what is ready offline."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from distill.config import preset
from distill.layout import TRAINING, Workspace
from distill.objectives.structured import Structured
from distill.publishing import check_repository, set_results, upload, validation_results
from distill.questions import Questions
from distill.training.card import Sources, _metadata
from distill.training.students import Training
from harness.cli.distill.printing import show_trained
from harness.core.errors import Exit, HarnessError
from harness.core.options import ModelOptions
from harness.core.types import DataOptions
from harness.run.task_data import Data
from tasks import load_task
from tests.faulty import Request, Said, Server

TOKEN = "hf_" + "secret" * 4
RECORD = {
    "validation": {
        "questions": 8,
        "source": "held out of the training questions",
        "split": None,
        "best": {"step": 4, "metric": "exact_match", "title": "Exact match", "score": 0.75},
    }
}
CARD = f"""---
{_metadata(Structured(), Sources(base_repo="vikhyatk/moondream2", data_repo="derek-thomas/ScienceQA"))}
---

# A student

Licences: apache-2.0.
"""


class Hub:
    """Takes commits, and keeps the files that they hold."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.created: list[Any] = []
        self.status = 200
        self.endpoint = ""

    def __call__(self, request: Request) -> Said:
        path = request.path.partition("?")[0]
        if self.status != 200:
            return Said({"error": "no"}, status=self.status)
        if path == "/api/repos/create":
            self.created.append(request.body)
            return Said({"url": f"{self.endpoint}/me/{request.body['name']}"})
        if path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in request.body["files"]
            ]
            return Said({"files": files})
        if path.endswith("/commit/main"):
            for line in request.body:
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            return Said({"commitUrl": f"{self.endpoint}/me/kd/commit/1", "commitOid": "1" * 40})
        return Said({"id": "me/x", "sha": "0" * 40, "siblings": [], "private": True})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub of our own, where somebody is logged in."""
    from huggingface_hub import constants

    hub = Hub()
    with Server(hub) as server:
        server.models = hub
        hub.endpoint = f"http://127.0.0.1:{server.port}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A student's folder, with an adapter next to it."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "validation_log.jsonl").write_text('{"answers": ["a question"]}\n')
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"adapter")
    return folder


def test_a_student_is_sent_with_card_licences_and_scores(hub: Hub, student: Path) -> None:
    """Into a private repository; its questions stay here, and the token is in no file."""
    set_results(student, "kd", validation_results(RECORD, data="colours"))
    check_repository("me/kd")
    url = upload(student, "me/kd")
    assert url is not None
    assert url.endswith("/me/kd")
    assert hub.created[0]["name"] == "kd"
    assert hub.created[0]["visibility"] == "private"
    assert set(hub.files) == {
        *("README.md", "model.safetensors", "adapter/adapter_model.safetensors")
    }
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.license == "other"
    assert card.data.base_model == "vikhyatk/moondream2"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("exact_match", 0.75)
    assert result.dataset_name == "colours, validation"
    assert result.metric_args["note"].startswith("8 questions held out of the training questions")
    assert "Licences: apache-2.0." in card.text
    assert not any(TOKEN.encode() in content for content in hub.files.values())


@pytest.mark.parametrize(("status", "help_"), [(403, "hf auth login"), (500, "hf upload me/kd ")])
def test_a_hub_that_refuses(
    hub: Hub, student: Path, monkeypatch: pytest.MonkeyPatch, status: int, help_: str
) -> None:
    """The folder is ready, and the command is named; the token is not in the message."""
    hub.status = status
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with pytest.raises(HarnessError, match=r"folder .* is ready") as caught:
        upload(student, "me/kd")
    assert caught.value.code is Exit.MISSING
    assert help_ in caught.value.remedy
    assert f"hf upload me/kd {student} . --exclude validation_log.jsonl" in caught.value.remedy
    assert TOKEN not in f"{caught.value} {caught.value.known} {caught.value.remedy}"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_failed_upload_is_the_last_of_the_results(
    hub: Hub,
    tiny: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    as_json: bool,
) -> None:
    """What a training has given is printed, with why the hub did not take it and what sends it; the
    command ends with the error."""
    hub.status = 500
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    workspace = Workspace(runs=tmp_path / "runs", name="kd", push_to_hub="me/kd")
    student = Path(shutil.copytree(tiny("moondream"), workspace.folder / "student"))
    (student / "README.md").write_text(CARD)
    (workspace.folder / TRAINING).write_text(json.dumps({"counts": {"left_out": {}}}))
    training = Training(
        base=ModelOptions(model=str(student)), config=preset("paper"), preset="paper"
    )
    questions = Questions(data=Data(load_task("scienceqa-mini"), DataOptions()))
    with pytest.raises(HarnessError, match="could not be sent to me/kd") as caught:
        show_trained(workspace, questions, training, student, task="scienceqa", as_json=as_json)
    shown = capsys.readouterr().out
    assert str(student) in shown
    if as_json:
        sent = json.loads(shown)["hub"]
        assert (sent["url"], sent["error"]) == (None, caught.value.to_json())
        assert sent["commands"][0].startswith("hf upload me/kd ")


def test_scores_are_replaced(student: Path) -> None:
    """A second time the card has them once; without any it has none."""
    for _ in range(2):
        set_results(student, "kd", validation_results(RECORD, data="colours"))
    assert len(ModelCard((student / "README.md").read_text()).data.eval_results) == 1
    set_results(student, "kd", validation_results({}, data="colours"))
    assert "model-index" not in (student / "README.md").read_text()


def test_what_nothing_can_be_sent_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused before anything is trained: no owner, no name, no login."""
    from huggingface_hub import constants

    with pytest.raises(HarnessError, match="whose repository") as caught:
        check_repository("kd")
    assert caught.value.remedy == "--push-to-hub ORG/kd"
    with pytest.raises(HarnessError, match="me/a b"):
        check_repository("me/a b")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    check_repository("me/kd")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(HarnessError, match="access token"):
        check_repository("me/kd")
