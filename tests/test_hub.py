"""Why a repository cannot be had, and what helps: against a server that answers as the hub does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.checkpoints import hub
from harness.core.errors import DataError, Exit, HarnessError
from harness.data.hub import snapshot
from harness.weights.resolve import resolve_weights
from tests.faulty import Said, Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A hub of our own, an empty cache, and nobody logged in."""
    from huggingface_hub import constants

    with Server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def refused(server: Server) -> Callable[..., HarnessError]:
    """`refused(status, code, model)`: the error where the hub answers so."""

    def ask(status: int, code: str, model: str = "some/model", **options: str) -> HarnessError:
        server.models = lambda _: Said({}, status=status, headers={"X-Error-Code": code})
        with pytest.raises(HarnessError) as caught:
            resolve_weights(model, **options)
        assert caught.value.code is Exit.MISSING
        return caught.value

    return ask


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_wants_its_licence_accepted(server, refused, status: int) -> None:
    """On the model's page, and then with a login."""
    error = refused(status, "GatedRepo", "meta-llama/Llama-3.2-11B-Vision")
    assert "gated" in error.what
    page, login = error.remedy.splitlines()[0].split(", then: ")
    assert page == (
        f"Accept the licence on http://127.0.0.1:{server.port}/meta-llama/Llama-3.2-11B-Vision"
    )
    assert login == "hf auth login"
    assert "hf download meta-llama/Llama-3.2-11B-Vision" in error.remedy


@pytest.mark.parametrize("status", [401, 404])
def test_a_repository_that_is_not_found_is_misspelt_or_private(refused, status: int) -> None:
    """The hub answers both alike; both are said, with what helps against either."""
    error = refused(status, "RepoNotFound")
    assert error.what == "The hub has no repository some/model, or it is private."
    assert "Check the name" in error.remedy
    assert "hf auth login" in error.remedy


def test_a_name_that_is_nearly_a_rows_is_put_right(refused) -> None:
    """The rows' repositories are known."""
    error = refused(401, "RepoNotFound", "microsoft/Phi-3.5-vison-instruct")
    assert "Did you mean microsoft/Phi-3.5-vision-instruct?" in error.remedy


def test_who_is_logged_in_is_told_so(refused, tmp_path: Path) -> None:
    """Where there is an access token, another login may be needed."""
    (tmp_path / "token").write_text("hf_abcdefgh")
    assert "account of your access token" in refused(404, "RepoNotFound").known
    assert "account of your access token" in refused(403, "GatedRepo").known


def test_a_revision_that_is_not_there(refused) -> None:
    """The repository and the revision, and where its branches are listed."""
    error = refused(404, "RevisionNotFound", "vikhyatk/moondream2", revision="2024-07-32")
    assert error.what == "vikhyatk/moondream2 has no revision 2024-07-32."
    assert "/vikhyatk/moondream2/tree/main" in error.known


def test_an_access_token_that_is_void(refused) -> None:
    """Not the repository's fault: a new login helps; what else the hub says is passed on."""
    error = refused(401, "Other")
    assert error.what == "The hub does not accept this machine's access token."
    assert error.remedy == "hf auth login, or unset HF_TOKEN."
    assert refused(403, "Other").known == "HTTP 403"


def test_offline_says_so(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """HF_HUB_OFFLINE is named, and the command that fetches it elsewhere."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="not here") as caught:
        resolve_weights("some/model")
    assert "HF_HUB_OFFLINE is set" in caught.value.known
    assert caught.value.remedy == "hf download some/model"
    assert not server.requests


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """No network is not the same as offline by choice."""
    server.refuse()
    with pytest.raises(HarnessError, match="not here") as caught:
        resolve_weights("some/model")
    assert "cannot be reached" in caught.value.known
    assert "HF_HUB_OFFLINE" not in caught.value.known


def test_a_disk_that_is_full() -> None:
    """Where the weights are kept, and what moves that."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    what, known, _ = hub.explain(error, hub.Repository("some/model", None))
    assert what == "The weights of some/model cannot be stored: No space left on device."
    assert "HF_HOME" in known


def test_the_files_of_a_repository(server: Server) -> None:
    """Asked for another error's sake: where the hub does not answer, none are known."""
    info = {"id": "some/model", "siblings": [{"rfilename": "pytorch_model.bin"}]}
    server.models = lambda _: Said(info)
    assert hub.files(hub.Repository("some/model", "main")) == ["pytorch_model.bin"]
    server.models = lambda _: Said({}, status=404, headers={"X-Error-Code": "RepoNotFound"})
    assert hub.files(hub.Repository("some/model", None)) == []


def test_a_data_set_is_told_apart_in_the_same_way(server: Server) -> None:
    """Its own page and its own command."""
    server.models = lambda _: Said({}, status=401, headers={"X-Error-Code": "GatedRepo"})
    with pytest.raises(DataError, match="is gated") as caught:
        snapshot("some/data", None, ["*"])
    assert f"127.0.0.1:{server.port}/datasets/some/data" in caught.value.remedy
    assert "hf download --repo-type dataset some/data" in caught.value.remedy
