"""A server's model: what is sent and where to, what may come back, and what becomes of it."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email.utils import formatdate
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.core.image_marks import IMAGE_MARK
from harness.core.images import decode
from harness.core.options import ServerOptions
from harness.core.types import Decoding, Prompt
from harness.remote import client as client_module
from harness.remote.client import GIVE_UP_AFTER, TRIES, Client
from harness.remote.completions import Reply
from harness.remote.endpoint import Endpoint, check_address, find_endpoint, is_private, read_key
from harness.remote.exchange import LARGEST, Unanswered
from harness.remote.model import RemoteModel, neutral
from harness.remote.retries import Pace
from harness.run.folder import RunFolder
from tests import commands
from tests.faulty import LISTED, Request, Said, Server, completion, letter

KEY = "sk-very-secret-key-0123456789"
GREEDY = Decoding(max_new_tokens=9)


class Watch:
    """A clock that only waiting moves, and what was waited for."""

    def __init__(self, chance: float = 1.0) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self._lock = threading.Lock()
        self.pace = Pace(
            now=lambda: self.time, sleep=self.sleep, chance=lambda: chance, today=lambda: 1e9
        )

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.time += seconds
            self.waits.append(seconds)


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no proxy of whoever runs the tests."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_PROXY", "_proxy")):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def evaluate(command, drawn: Path, tmp_path: Path) -> Callable[..., Any]:
    """`harness eval` of a server's model on the drawn questions."""

    def run(url: str, *more: object, folder: str = "") -> Any:
        return command(
            *("eval", "--model", "openai:tiny", "--base-url", url, "--task", "scienceqa"),
            *("--data", drawn, "--runs", tmp_path / folder / "runs", "--max-new-tokens", 9),
            *("--json", *more),
        )

    return run


def make_client(server: Any, watch: Watch | None = None, **options: Any) -> Client:
    return Client(
        Endpoint(name="t", url=server.url, served="tiny"),
        ServerOptions(**{"concurrency": 1, **options}),
        key=read_key(),
        pace=watch.pace if watch else None,
    )


def make_model(server: Server, **options: Any) -> RemoteModel:
    endpoint = Endpoint(name="t", url=server.url, served="tiny")
    return RemoteModel(make_client(server, **options), endpoint, ServerOptions())


def prompt(text: str = "What is it?", **more: Any) -> Prompt:
    return Prompt(text=text, question=text, style="plain", **more)


def chat(client: Client, *texts: str) -> list[Reply | Unanswered]:
    """What comes back for a question of each text."""
    return client.chat([body(text) for text in texts or ("q",)])


def body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}


def only(results: Sequence[Reply | Unanswered]) -> Reply:
    (reply,) = results
    assert isinstance(reply, Reply), reply
    return reply


def failure(results: Sequence[Reply | Unanswered]) -> str:
    (result,) = results
    assert isinstance(result, Unanswered)
    return str(result)


def in_turn(*said: Said | Callable[[Request], Said]) -> Callable[[Request], Said]:
    """Answers one after the other; the last one again and again."""
    left = list(said)
    lock = threading.Lock()

    def answer(request: Request) -> Said:
        with lock:
            now = left.pop(0) if len(left) > 1 else left[0]
        return now if isinstance(now, Said) else now(request)

    return answer


# Where to


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/chat/completions", "http://127.0.0.1:8000/v1"),
        ("HTTPS://Example.ORG/api/v3", "https://example.org/api/v3"),
        ("http://[::1]:80", "http://[::1]:80/v1"),
    ],
)
def test_one_address_has_one_spelling(given: str, meant: str) -> None:
    """So that a run goes on whichever way its address is written; /v1 is put where no path is."""
    assert check_address(given) == meant


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "http://",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:x/v1",
        "http://[::1/v1",
        "http://127.0.0.1/v1\nHost: other",
        "http://127.0.0.1 /v1",
        "http://exämple.org/v1",
        "http:\\\\127.0.0.1",
        "unix:///run/x.sock",
    ],
)
def test_what_is_no_address_is_refused(bad: str) -> None:
    """Another scheme, no host, no port, white space: nothing is sent anywhere."""
    with pytest.raises(HarnessError, match="is no http:// or https:// address"):
        check_address(bad)


@pytest.mark.parametrize(
    "secret",
    [
        "http://me:hunter2secret@127.0.0.1/v1",
        "http://hunter2secret@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=hunter2secret",
        "http://127.0.0.1/v1#hunter2secret",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(
    evaluate, tmp_path: Path, secret: str
) -> None:
    """Such an address would stand in records: it is in no file, and not in the error."""
    result = evaluate(secret)
    assert result.code == 2
    assert "user name, a password or a query" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout
    assert not (tmp_path / "runs").exists()


def test_what_goes_over_the_network_unencrypted_is_known() -> None:
    """https, and this machine, are private; plain http to anybody else is not."""
    private = [
        "https://a.org/v1",
        "http://127.0.0.1/v1",
        "http://localhost:1/v1",
        "http://[::1]/v1",
    ]
    assert all(map(is_private, private))
    assert not is_private("http://10.0.0.7/v1")
    assert not is_private("http://localhost.evil.org/v1")


def test_a_server_that_has_a_rows_weights_gets_the_rows_styles() -> None:
    """LLaVA-CoT behind a server is asked as LLaVA-CoT; an unknown name is asked for a letter."""
    known = find_endpoint("openai:Xkev/Llama-3.2V-11B-cot", base_url="http://127.0.0.1")
    assert known.spec is not None
    assert known.spec.name == "llava-cot"
    assert known.name == "openai:Xkev--Llama-3.2V-11B-cot"
    assert find_endpoint("openai:/models/x", base_url="http://127.0.0.1").spec is None
    assert find_endpoint("openai:/models/x", base_url="http://127.0.0.1").name == "openai:x"


# What is sent


def test_a_question_is_one_user_turn_with_its_pictures_first(server: Server) -> None:
    """The body is what vLLM, SGLang, llama.cpp and transformers take, and nothing else."""
    model = make_model(server)
    picture = Image.new("RGB", (5, 3), (10, 20, 30))
    asked = [prompt("Text", images=(picture, picture), examples=("An example.",))]
    (output,) = model.generate(model.prepare(asked), GREEDY)
    (request,) = server.questions
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "tiny",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": request.pictures[0]}},
                    {"type": "image_url", "image_url": {"url": request.pictures[1]}},
                    {"type": "text", "text": "An example.\n\nText"},
                ],
            }
        ],
        "max_tokens": 9,
        "temperature": 0.0,
    }
    assert output.prompt == "An example.\n\nText"
    assert (output.tokens_in, output.tokens, output.finish) == (11, 3, "stop")


def test_pictures_are_sent_at_their_marks(server: Server) -> None:
    """As parts among the texts, in their order; the record calls them by words."""
    model = make_model(server)
    red, blue = (Image.new("RGB", (5, 3), colour) for colour in ("red", "blue"))
    asked = prompt(f"Is {IMAGE_MARK} left of {IMAGE_MARK}?", images=(red, blue))
    (output,) = model.generate(model.prepare([asked]), GREEDY)
    (request,) = server.questions
    content = request.body["messages"][0]["content"]
    assert [part.get("text", "picture") for part in content] == [
        "Is ", "picture", " left of ", "picture", "?",
    ]  # fmt: skip
    assert content[1]["image_url"]["url"] != content[3]["image_url"]["url"]
    assert output.prompt == "Is <image 1> left of <image 2>?"


def test_a_question_without_a_picture_is_text(server: Server) -> None:
    """Text alone is sent as one part, which templates for parts and for text both take."""
    model = make_model(server)
    model.generate(model.prepare([prompt("Text")]), GREEDY)
    content = server.questions[0].body["messages"][0]["content"]
    assert content == [{"type": "text", "text": "Text"}]


def test_sampling_is_sent_with_a_seed_for_each(server: Server) -> None:
    """With a temperature each request has its own seed, the same ones each time."""
    model = make_model(server)
    sampled = replace(GREEDY, temperature=0.5, top_p=0.9, seed=2**32 - 1)
    for _ in range(2):
        model.generate(model.prepare([prompt("a"), prompt("b")]), sampled)
    sent = [(r.body["temperature"], r.body["top_p"], r.body["seed"]) for r in server.questions]
    assert sent[:2] == sent[2:]
    assert sent[0][:2] == (0.5, 0.9)
    assert sent[0][2] != sent[1][2]
    assert all(0 <= seed < 2**31 for _, _, seed in sent)


def test_pictures_arrive_pixel_for_pixel(server: Server) -> None:
    """What the server decodes is what a local model would see: upright, no profile, no loss."""
    turned = Image.effect_noise((40, 30), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    turned.save(file, format="JPEG", exif=exif, icc_profile=b"not a profile")
    picture = decode(file.getvalue(), label="x")
    model = make_model(server)
    model.generate(model.prepare([prompt(images=(picture,))]), GREEDY)
    head, _, data = server.questions[0].pictures[0].partition(",")
    assert head == "data:image/png;base64"
    arrived = Image.open(BytesIO(base64.b64decode(data)))
    assert arrived.size == (30, 40)
    assert arrived.mode == "RGB"
    assert arrived.tobytes() == picture.tobytes()
    assert not arrived.info
    assert not arrived.getexif()


@pytest.mark.parametrize(
    "token",
    [
        *("<image>", "<|image|>", "<|image_1|>", "<|im_end|>", "<|eot_id|>", "</s>", "<s>"),
        *("<start_of_turn>", "<end_of_utterance>", "[INST]", "[/INST]", "[IMG]", "<IMAGE>"),
        *("<|vision_start|>", "<image_soft_token>", "<|begin_of_text|>"),
    ],
)
def test_data_cannot_speak_for_the_harness(token: str) -> None:
    """What is spelled like a control token of some family is broken up, and only that."""
    assert neutral(f"a{token}b") == f"a{token[0]} {token[1:]}b"


@pytest.mark.parametrize("text", ["a < b and b > c", "<SUMMARY> x </SUMMARY>", "a[i]", "x <sub>2"])
def test_other_text_is_sent_as_it_is(text: str) -> None:
    """Our own tags, and less-than signs, are no control tokens."""
    assert neutral(text) == text


def test_stages_end_where_a_local_models_do(server: Server) -> None:
    """What a server writes behind the last tag is cut off, and the tag is kept; no `stop` is sent,
    which some servers would take out of the text."""
    server.answer = lambda _: completion("<CONCLUSION> A </CONCLUSION> And so on, B.")
    model = make_model(server)
    stop = replace(GREEDY, stop="</CONCLUSION>")
    (output,) = model.generate(model.prepare([prompt()]), stop)
    assert output.raw == "<CONCLUSION> A </CONCLUSION>"
    assert "stop" not in server.questions[0].body


def test_a_begun_answer_is_refused(server: Server) -> None:
    """There is no standard way to let a server go on with an answer: it is said, not pretended."""
    model = make_model(server)
    with pytest.raises(HarnessError, match="cannot continue the beginning of an answer"):
        model.prepare([prompt(answer_prefix="<SUMMARY> x")])
    with pytest.raises(HarnessError, match="likelihood of the options"):
        model.choose(model.prepare([prompt()]), [["A", "B"]])
    assert not server.requests


# What may come back


def test_a_server_that_fails_is_asked_again(server: Server, watch: Watch) -> None:
    """Errors 500, an answer that is cut, and one that is no JSON cost a try each, then it works;
    waits double."""
    good = completion("B")
    server.answer = in_turn(
        Said({"error": "boom"}, status=500),
        replace(good, missing=10),
        Said(b'{"choices": ['),
        Said(hang_up=True),
        good,
    )
    assert only(chat(make_client(server, watch))).text == "B"
    assert watch.waits == [0.5, 1.0, 2.0, 4.0]
    assert len(server.questions) == TRIES


def test_waits_begin_anew_with_another_kind_of_trouble(server: Server, watch: Watch) -> None:
    """Behind a long absence the first cut answer is asked for again at once; tries are those of
    answers that came out wrong, however often the server was away between them."""
    away, wrong = [Said(status=503)] * 6, Said(status=500)
    server.answer = in_turn(*away, wrong, *away, wrong, completion("B"))
    assert only(chat(make_client(server, watch))).text == "B"
    waits = [0.5, 1, 2, 4, 8, 16, 0.5]
    assert watch.waits == waits * 2


def test_what_a_server_sends_beyond_an_answer_is_dropped(server: Server, watch: Watch) -> None:
    """Each request has a connection of its own: bytes that follow an answer, at once or late, are
    never taken for the answer to the next question."""

    def twice(request: Request) -> Said:
        body = json.dumps(completion(request.text).body).encode()
        stray = json.dumps(completion("stray").body).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        return Said(
            pieces=[body, head % len(stray), stray], headers={"Content-Length": str(len(body))}
        )

    server.answer = twice
    client = make_client(server, watch)
    client.reach()
    texts = [str(number) for number in range(6)]
    assert [only([reply]).text for reply in chat(client, *texts)] == texts
    assert {request.headers["Connection"] for request in server.requests} == {"close"}
    assert len({request.port for request in server.requests}) == 7


@pytest.mark.parametrize(
    "said",
    [
        Said(b""),
        Said(b"\xff\xfe\xfa"),
        Said(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
        Said(b"[" * 100_000),
        Said(None),
        Said([]),
        Said({}),
        Said({"choices": []}),
        Said({"choices": {}}),
        Said({"choices": [{}]}),
        Said({"choices": [None]}),
        Said({"choices": [{"message": "text"}]}),
        Said({"choices": [{"message": {"content": 7}}]}),
        Said({"choices": [{"message": {"content": [{"type": "text"}]}}]}),
        Said({"choices": [{"message": {"content": [None]}}]}),
        Said(b'{"choices": [{"message": {"content": "A"}, "index": NaN}]}'),
    ],
    ids=lambda said: str(said.body)[:40],
)
def test_what_is_no_completion_is_a_failure_of_that_question(
    server: Server, watch: Watch, said: Said
) -> None:
    """Whatever shape a 200 has: tried again, then told with its size and type."""
    server.answer = in_turn(*[said] * TRIES, completion("B"))
    client = make_client(server, watch)
    assert "no completion came back, but" in failure(chat(client))
    assert len(server.questions) == TRIES
    assert only(chat(client)).text == "B"


IN_A_CHOICE = {"finish_reason": "error", "message": {"content": ""}}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the picture is too large"}},
        {"error": "the picture is too large"},
        {"error": {"type": "x", "code": None, "message": "the picture\nis too large"}},
        {"error": {"errors": [{"reason": "the picture is too large"}]}, "choices": []},
        {"errors": [{"message": "the picture is too large"}]},
        {"detail": "the picture is too large"},
        {"detail": [{"loc": [], "msg": "the picture is too large", "type": "value_error"}]},
        {"object": "error", "message": "the picture is too large", "code": None},
        {"error_msg": "the picture is too large", "error_code": 336},
        {"choices": [IN_A_CHOICE | {"error": {"message": "the picture is too large"}}]},
        {"choices": [{"message": {"content": "", "error": "the picture is too large"}}]},
        {"choices": [IN_A_CHOICE | {"message": {"detail": "the picture is too large"}}]},
        {"error": {"message": "the picture is too large"}, "choices": [{"message": {}}]},
        "the picture is too large",
        b"the picture is too large\n",
        b"<html><head><title>the picture is too&nbsp;large</title></head>",
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_servers_own_words_are_kept(server: Server, watch: Watch, body: Any, status: int) -> None:
    """Wherever a server puts them, and whatever its status: they are in the question's row."""
    server.answer = lambda _: Said(body, status=status)
    row = failure(chat(make_client(server, watch)))
    assert "the picture is too large" in row
    assert row.startswith(("HTTP ", "no completion came back"))
    assert len(server.questions) == (1 if status == 400 else TRIES)


@pytest.mark.parametrize("code", [429, "503", 502, None])
def test_a_failure_behind_a_gateway_is_one_of_that_question(
    server: Server, watch: Watch, code: object
) -> None:
    """Within HTTP 200 the server is there: the question is tried again, and loses itself only."""
    busy = Said({"error": {"message": "come back later", "code": code}})
    server.answer = in_turn(busy, completion("B"), *[busy] * TRIES)
    client = make_client(server, watch)
    assert only(chat(client)).text == "B"
    assert failure(chat(client)) == f"HTTP {code or 200}: come back later, {TRIES} times"


def test_a_refusal_in_the_body_is_not_repeated(server: Server, watch: Watch) -> None:
    """One that says 400 or 401 within HTTP 200 means it."""
    server.answer = lambda _: Said({"error": {"message": "too long", "code": 400}})
    client = make_client(server, watch)
    assert failure(chat(client)) == "HTTP 400: too long"
    server.answer = lambda _: Said({"error": {"message": "who are you", "code": 401}})
    with pytest.raises(HarnessError, match="wants a key"):
        chat(client)
    assert len(server.questions) == 2


@pytest.mark.parametrize("error", [None, "", {}, []])
def test_an_empty_error_is_none(server: Server, error: object) -> None:
    """Some servers have the field in every answer."""
    said = completion("B")
    server.answer = lambda _: replace(said, body={**said.body, "error": error})
    assert only(chat(make_client(server))).text == "B"


NOT_TAKEN = [
    (
        "max_tokens",
        {
            "error": {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            }
        },
    ),
    ("max_tokens", {"error": "max_tokens is deprecated, use max_completion_tokens"}),
    (
        "max_tokens",
        {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]},
    ),
    (
        "temperature",
        {
            "error": {
                "message": "Unsupported value: 'temperature' does not support 0.7 with this model. "
                "Only the default (1) value is supported.",
                "param": "temperature",
                "code": "unsupported_value",
            }
        },
    ),
    ("temperature", {"error": "Input validation error: `temperature` must be strictly positive"}),
    ("top_p", {"object": "error", "message": "top_p is not allowed for this model"}),
    ("seed", {"error": {"message": "Unrecognized request argument supplied: seed"}}),
    ("seed", {"detail": [{"loc": ["body", "seed"], "type": "extra_forbidden", "msg": "no"}]}),
]
SAMPLED = Decoding(max_new_tokens=9, temperature=0.7, seed=5)


def refuse(*refused: tuple[str, Any], status: int = 400) -> Callable[[Request], Said]:
    """Refuses each of these parameters by the words for it, and answers what has none."""

    def answer(request: Request) -> Said:
        for name, body in refused:
            if name in request.body:
                return Said(body, status=status)
        return completion("B")

    return answer


@pytest.mark.parametrize(("name", "body"), NOT_TAKEN)
@pytest.mark.parametrize("status", [200, 400, 422])
def test_a_parameter_that_is_not_taken_is_left_out(
    server: Server, caplog, name: str, body: Any, status: int
) -> None:
    """The request is sent once more without it, or with the newer name of the limit; so are all
    later ones, at once. What changes answers is told once, and stands in the record."""
    server.answer = refuse((name, body), status=status)
    model = make_model(server)
    for _ in range(2):
        assert [out.raw for out in model.generate(model.prepare([prompt()]), SAMPLED)] == ["B"]
    first, second, third = (request.body for request in server.questions)
    assert name in first
    assert second == third
    newer = {"max_completion_tokens": 9} if name == "max_tokens" else {}
    assert second == {key: value for key, value in first.items() if key != name} | newer
    assert model.description["left_out"] == ([] if newer else [name])
    assert [name in record.message for record in caplog.records] == ([] if newer else [True])


def test_several_parameters_are_left_out_one_by_one(server: Server) -> None:
    """As newer models of some servers want it."""
    server.answer = refuse(NOT_TAKEN[0], NOT_TAKEN[3], NOT_TAKEN[5], NOT_TAKEN[6])
    model = make_model(server)
    assert [out.raw for out in model.generate(model.prepare([prompt()]), SAMPLED)] == ["B"]
    assert model.description["left_out"] == ["seed", "temperature", "top_p"]
    assert server.questions[-1].body["max_completion_tokens"] == 9
    assert len(server.questions) == 5


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 20000. This model supports at most 16384 completion tokens",
        "'max_tokens' must be at least 1, got -30: the maximum context length is 512",
        "the picture is not supported",
    ],
)
def test_another_refusal_is_none_of_a_parameter(server: Server, watch: Watch, words: str) -> None:
    """Of a value that is too large for a question, or of something else: sent once."""
    server.answer = lambda _: Said({"error": {"message": words}}, status=400)
    client = make_client(server, watch)
    assert failure(client.chat([body("a") | {"max_tokens": 9}])) == f"HTTP 400: {words}"
    assert len(server.questions) == 1


def test_what_did_not_help_is_not_remembered(server: Server, watch: Watch) -> None:
    """Where neither name of the limit is taken, both are told of and the next question has the
    usual one."""
    server.answer = lambda request: Said(
        {"error": f"{next(n for n in request.body if n.startswith('max'))} is not supported"},
        status=400,
    )
    client = make_client(server, watch)
    for _ in range(2):
        rows = client.chat([body("a") | {"max_tokens": 9}])
        assert failure(rows) == "HTTP 400: max_completion_tokens is not supported"
    names = [next(n for n in r.body if n.startswith("max")) for r in server.questions]
    assert names == ["max_tokens", "max_completion_tokens"] * 2


def test_a_content_type_does_not_decide(server: Server) -> None:
    """A completion is one, whatever it is called."""
    server.answer = lambda _: replace(completion("B"), headers={"Content-Type": "text/plain"})
    assert only(chat(make_client(server))).text == "B"


def test_text_in_parts_is_put_together(server: Server) -> None:
    """Some servers give content as parts."""
    parts = [{"type": "text", "text": "The answer "}, {"type": "text", "text": "is B."}]
    server.answer = lambda _: completion(None, content=parts)
    assert only(chat(make_client(server))).text == "The answer is B."


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": -1, "completion_tokens": True}, {"x": 1}]
)
def test_tokens_that_a_server_does_not_count_are_not_made_up(server: Server, usage: object) -> None:
    """Without a usable `usage` the numbers are unknown, not 0."""
    said = completion("B")
    server.answer = lambda _: replace(said, body={**said.body, "usage": usage})
    reply = only(chat(make_client(server)))
    assert (reply.tokens_in, reply.tokens) == (None, None)


def test_a_refused_request_is_not_repeated(server: Server, watch: Watch) -> None:
    """HTTP 400 is about this question: one request, its reason in its row, the others answered."""
    error = {"error": {"message": "maximum context\nlength is 512", "type": "x"}}
    server.answer = lambda r: Said(error, status=400) if r.text == "long" else letter(r)
    results = chat(make_client(server, watch), "a", "long", "b")
    assert [type(result) for result in results] == [Reply, Unanswered, Reply]
    assert str(results[1]) == "HTTP 400: maximum context length is 512"
    assert len(server.questions) == 3


def test_a_question_that_breaks_the_server_loses_itself_only(server: Server, watch: Watch) -> None:
    """One that is answered with 500 each time fails for good after its tries."""
    server.answer = lambda r: Said(status=500) if r.text == "bad" else letter(r)
    results = chat(make_client(server, watch), "a", "bad", "b")
    assert [type(result) for result in results] == [Reply, Unanswered, Reply]
    assert str(results[1]) == f"HTTP 500, {TRIES} times"


def test_a_server_that_fails_on_everything_ends_the_run(server: Server, watch: Watch) -> None:
    """Questions in a row that fail by the server's fault are not the questions' fault."""
    server.answer = lambda _: Said(status=500)
    with pytest.raises(HarnessError, match=f"failed on {GIVE_UP_AFTER} questions in a row") as told:
        chat(make_client(server, watch), *map(str, range(GIVE_UP_AFTER + 4)))
    assert told.value.code == 3
    assert len(server.questions) == GIVE_UP_AFTER * TRIES


def test_an_answer_has_a_largest_size(server: Server, watch: Watch) -> None:
    """An endless answer is left alone after 4 MiB, and not asked for again."""
    server.answer = lambda _: Said(pieces=[b" " * 65536] * (2 * LARGEST // 65536))
    assert (
        failure(chat(make_client(server, watch))) == f"the answer has more than {LARGEST:,} bytes"
    )
    assert len(server.questions) == 1


def test_a_packed_answer_is_not_unpacked(server: Server, watch: Watch) -> None:
    """What is small on the wire has no bound once it is unpacked: it was not asked for."""
    server.answer = lambda _: Said(b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})
    assert "compressed" in failure(chat(make_client(server, watch)))
    assert server.questions[0].headers["Accept-Encoding"] == "identity"


class Dripping:
    """A server whose responses never end. Each line of `responses` is sent as it is; what it
    begins with is sent once, and then the rest of it for as long as anybody reads."""

    def __init__(self, once: bytes, again: bytes, *, path: str = "") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._once, self._again, self._path = once, again, path.encode()
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.cut = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(
                    target=self._serve, args=(self._socket.accept()[0],), daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if self._path not in connection.recv(1 << 20):
                body = json.dumps(completion("B").body).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                connection.sendall(head % len(body) + body)
                return
            try:
                connection.sendall(self._once)
                while True:
                    connection.sendall(self._again)
                    if select.select([connection], [], [], 0.01)[0] and not connection.recv(4096):
                        return
            finally:
                self.cut.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


DRIPS = {
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "a body of a known length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "interim responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "interim headers": (b"HTTP/1.1 103 Early Hints\r\n", b"X: a\r\n"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_whatever_drips_has_an_end(watch: Watch, monkeypatch, kind: str) -> None:
    """The time is that of a whole answer, its headers and interim responses included; then the
    connection is cut."""
    monkeypatch.setattr(client_module, "TRIES", 2)
    with Dripping(*DRIPS[kind]) as server:
        client = make_client(server, watch, timeout=0.2)
        assert failure(chat(client)) == "no whole answer within 0.2 s, 2 times"
        for _ in range(2):
            assert server.cut.acquire(timeout=30)


@pytest.mark.parametrize("kind", DRIPS)
def test_a_list_that_drips_is_left_aside(watch: Watch, monkeypatch, kind: str) -> None:
    """A server is asked without its list of models where that does not come in time."""
    monkeypatch.setattr(client_module, "SLOWEST_LIST", 0.2)
    with Dripping(*DRIPS[kind], path="/models") as server:
        client = make_client(server, watch)
        client.reach()
        assert client.listed is None
        assert only(chat(client)).text == "B"


def test_a_name_that_is_not_resolved_in_time_is_not_waited_for(watch: Watch, monkeypatch) -> None:
    """Even where the system has no limit of its own, as for names."""
    release = threading.Event()

    def never(*_: object, **__: object) -> NoReturn:
        release.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", never)
    client = Client(
        Endpoint(name="t", url="http://example.invalid/v1", served="tiny"),
        ServerOptions(timeout=0.1, concurrency=1),
        pace=watch.pace,
    )
    with pytest.raises(HarnessError, match="No server answers"):
        client.reach()
    release.set()


def test_a_server_that_is_too_slow_is_asked_again(server: Server, watch: Watch) -> None:
    """An answer that does not come within the timeout costs a try."""
    release = threading.Event()

    def late(_: Request) -> Said:
        release.wait(30)
        return completion("late")

    server.answer = in_turn(late, completion("B"))
    assert only(chat(make_client(server, watch, timeout=0.5))).text == "B"
    release.set()
    assert watch.waits == [0.5]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_waited_for_as_it_asks(server: Server, watch: Watch, status: int) -> None:
    """Retry-After in seconds and as a date are obeyed; no number of tries is counted."""
    date = formatdate(1e9 + 33, usegmt=True)
    server.answer = in_turn(
        Said(status=status, headers={"Retry-After": "7"}),
        Said(status=status, headers={"Retry-After": date}),
        *[Said(status=status)] * (TRIES + 1),
        completion("B"),
    )
    assert only(chat(make_client(server, watch))).text == "B"
    assert watch.waits[:2] == [7.0, 33.0]


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "soon", "Wed, 99 Foo 2030", ""])
def test_a_retry_after_that_makes_no_sense_is_left_aside(
    server: Server, watch: Watch, header: str
) -> None:
    """The usual wait takes its place."""
    server.answer = in_turn(Said(status=503, headers={"Retry-After": header}), completion("B"))
    assert only(chat(make_client(server, watch))).text == "B"
    assert watch.waits == [0.5]


def test_waits_have_jitter_and_a_bound(server: Server) -> None:
    """A wait is half to all of what doubles up to 30 s, so that clients do not come back at once."""
    for chance, share in ((0.0, 0.5), (1.0, 1.0)):
        watch = Watch(chance)
        server.answer = in_turn(*[Said(status=503)] * 9, completion("B"))
        chat(make_client(server, watch))
        doubled = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        assert watch.waits == [share * wait for wait in doubled]


def test_patience_has_an_end(server: Server, watch: Watch) -> None:
    """A server that stays busy ends the run: exit 3, what to do, and not a second later than was
    allowed."""
    server.answer = lambda _: Said({"message": "full"}, status=503)
    with pytest.raises(HarnessError, match="does not answer") as told:
        chat(make_client(server, watch, patience=100))
    assert told.value.code == 3
    assert "HTTP 503: full, for 100 s" in told.value.known
    assert "re-run the same command to resume" in told.value.remedy
    assert sum(watch.waits) == 100


def test_a_wait_beyond_patience_is_not_begun(server: Server, watch: Watch) -> None:
    """A server that asks to come back tomorrow is told at once."""
    server.answer = lambda _: Said(status=429, headers={"Retry-After": "86400"})
    with pytest.raises(HarnessError, match="does not answer") as told:
        chat(make_client(server, watch))
    assert "It asks to wait 86400 s." in told.value.known
    assert not watch.waits


def test_a_failure_that_asks_for_too_long_a_wait_is_final(server: Server, watch: Watch) -> None:
    """A 500 with a Retry-After beyond patience costs its question, not a day."""
    server.answer = lambda _: Said(status=500, headers={"Retry-After": "86400"})
    assert failure(chat(make_client(server, watch))) == "HTTP 500, and asks to wait 86400 s"
    assert not watch.waits


def test_one_that_is_refused_while_others_are_answered_fails_alone(
    server: Server, watch: Watch
) -> None:
    """A server that is busy for one question only is not away."""
    answered = threading.Event()

    def answer(request: Request) -> Said:
        if request.text == "never":
            answered.wait(30)
            return Said(status=503)
        made = letter(request)
        return made

    server.answer = answer
    client = make_client(server, watch, concurrency=2, patience=60)
    original = watch.pace.sleep

    def sleep(seconds: float) -> None:
        original(seconds)
        # Meanwhile another question is answered.
        only(chat(client, "again"))

    client._pace = replace(watch.pace, sleep=sleep)
    answered.set()
    results = chat(client, "never")
    assert "HTTP 503, while others were answered" in failure(results)


@pytest.mark.parametrize(
    ("said", "message", "known"),
    [
        (Said({"error": "no"}, status=401), "wants a key", "HTTP 401: no."),
        (Said(status=403), "wants a key", "HTTP 403."),
        (
            Said({"detail": "no such model"}, status=404),
            "does not serve tiny",
            "HTTP 404: no such model. It lists tiny.",
        ),
        (
            Said(b"Not Found", status=405),
            "does not serve tiny",
            "HTTP 405: Not Found. It lists tiny.",
        ),
    ],
)
def test_what_no_request_can_mend_ends_the_run_at_once(
    server: Server, watch: Watch, said: Said, message: str, known: str
) -> None:
    """No key, no such model, no such address: exit 3 after one request."""
    server.answer = lambda _: said
    client = make_client(server, watch)
    client.reach()
    with pytest.raises(HarnessError, match=message) as told:
        chat(client, "a", "b", "c")
    assert told.value.known == known
    assert told.value.code == 3
    assert len(server.questions) == 1


def test_a_wrong_key_is_named_by_its_variable(server: Server, monkeypatch) -> None:
    """The message says which variable holds the key that was refused, and not what it is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda _: Said({"error": {"message": f"Incorrect key {KEY}"}}, status=401)
    with pytest.raises(HarnessError, match="refuses the key in OPENAI_API_KEY") as told:
        chat(make_client(server))
    assert told.value.known == "HTTP 401: Incorrect key ***."


# Sent to the address alone


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Server, watch: Watch, status: int) -> None:
    """Neither question, picture nor key goes to another address, and the message says which."""
    with Server() as other:
        location = f"{other.url}/chat/completions?token=hidden"
        server.answer = lambda _: Said(status=status, headers={"Location": location})
        with pytest.raises(HarnessError, match="sends requests elsewhere") as told:
            chat(make_client(server, watch))
        assert not other.requests
    assert "127.0.0.1" in told.value.known
    assert "hidden" not in str(told.value)


def test_proxies_and_logins_of_the_environment_are_not_used(
    server: Server, monkeypatch, tmp_path: Path
) -> None:
    """What other programs obey (proxy variables, .netrc) would send data or logins elsewhere."""
    with Server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert only(chat(make_client(server))).text
        assert not proxy.requests
    assert "Authorization" not in server.questions[0].headers


def test_a_proxy_is_used_where_it_is_asked_for(evaluate, tmp_path, server, monkeypatch) -> None:
    """HARNESS_PROXY is the explicit way to go through one."""
    with Server() as proxy:
        monkeypatch.setenv("HARNESS_PROXY", f"http://user:hunter2@127.0.0.1:{proxy.port}")
        run = record(evaluate("http://model.invalid/v1", "--limit", 2))
        assert proxy.questions[0].path == "http://model.invalid/v1/chat/completions"
        assert not server.requests
    assert "hunter2" not in everything(tmp_path)
    assert run["counts"]["done"] == 2


def test_a_proxy_that_is_no_address_is_told_without_its_password(evaluate, monkeypatch) -> None:
    """A misspelled proxy is refused; what it holds is not repeated."""
    monkeypatch.setenv("HARNESS_PROXY", "user:hunter2@proxy:8080")
    result = evaluate("http://127.0.0.1:9/v1")
    assert result.code == 2
    assert "HARNESS_PROXY is no http:// or https:// address" in result.stderr
    assert "hunter2" not in result.stderr


# The key


def test_the_key_is_in_the_header_and_nowhere_else(
    evaluate, tmp_path, server, monkeypatch, caplog
) -> None:
    """Even where a server repeats it in answers, errors, headers and its list: no record, log or
    message holds it."""
    monkeypatch.setenv("HARNESS_API_KEY", f"  {KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "another-key-that-is-not-used")
    for name in ("harness", "httpx2"):
        caplog.set_level(logging.DEBUG, logger=name)
    server.models = lambda _: Said({"data": [{**LISTED, "root": KEY, "owned_by": f"by {KEY}"}]})
    server.answer = in_turn(
        completion("warm"),
        completion(f"Your key is {KEY}. B", finish=KEY),
        Said({"error": {"message": f"bad key {KEY}", KEY: KEY}}, status=400),
        completion(None, refusal=f"Not with {KEY}"),
        replace(completion("A"), headers={"X-Key": KEY, "Content-Type": KEY}),
        Said({"error": {"message": f"bad key {KEY}"}}, status=401),
    )
    result = evaluate(server.url, "--concurrency", 1)
    assert result.code == 3
    sent = {request.headers.get("Authorization") for request in server.requests}
    assert sent == {f"Bearer {KEY}"}
    assert all(KEY not in json.dumps(r.body) + r.path for r in server.requests)
    rows = RunFolder(next(tmp_path.glob("runs/*/*/*"))).read_predictions()
    assert [row.raw for row in rows] == ["Your key is ***. B", "", "Not with ***", "A"]
    assert rows[1].error == "HTTP 400: bad key ***"
    kept = everything(tmp_path) + result.stdout + result.stderr + caplog.text
    assert KEY not in kept
    assert "another-key" not in kept
    assert KEY not in repr(read_key())


def test_an_empty_key_means_none(server: Server, monkeypatch) -> None:
    """A key for another service is not sent where HARNESS_API_KEY says that there is none."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    chat(make_client(server))
    monkeypatch.setenv("HARNESS_API_KEY", "")
    chat(make_client(server))
    sent = [request.headers.get("Authorization") for request in server.questions]
    assert sent == [f"Bearer {KEY}", None]


@pytest.mark.parametrize("bad", ["sk abc hunter2", "sk-hunter2\nX-Other: 1", "sk-hünter2"])
def test_a_key_that_no_header_holds_is_told_without_it(evaluate, monkeypatch, bad: str) -> None:
    """The HTTP library would put the whole header into its error."""
    monkeypatch.setenv("HARNESS_API_KEY", bad)
    result = evaluate("http://127.0.0.1:9/v1")
    assert result.code == 2
    assert "The key in HARNESS_API_KEY has a space in it" in result.stderr
    assert "nter2" not in result.stderr


def test_a_placeholder_is_no_secret(server: Server, monkeypatch) -> None:
    """Servers without a key are given EMPTY or the like; an answer may hold that word."""
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    server.answer = lambda _: completion("The glass is EMPTY.")
    assert only(chat(make_client(server))).text == "The glass is EMPTY."


# Several at once


def test_so_many_are_under_way_as_is_said(server: Server) -> None:
    """With a concurrency of 4, four requests are there before the first is answered, never five;
    answers come back in the order of the questions."""
    together = threading.Barrier(4, timeout=30)
    lock, under_way, most = threading.Lock(), 0, 0

    def answer(request: Request) -> Said:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1
        together.wait()
        return completion(f"re {request.text}")

    server.answer = answer
    results = chat(make_client(server, concurrency=4), *map(str, range(12)))
    assert [r.text for r in results if isinstance(r, Reply)] == [f"re {i}" for i in range(12)]
    assert most == 4


# Runs


def record(result: Any) -> dict[str, Any]:
    assert result.code == 0, result.stderr
    (run,) = result.json["runs"]
    return run


def everything(folder: Path) -> str:
    """All bytes of all files, as text."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return "".join(path.read_bytes().decode(errors="replace") for path in files)


def answers(run: dict[str, Any]) -> list[tuple[str, str, Any, str, str | None]]:
    rows = RunFolder(Path(run["folder"])).read_predictions()
    return [(row.sample_id, row.raw, row.answer, row.rule, row.error) for row in rows]


def test_a_run_says_that_a_server_answered(evaluate, server) -> None:
    """The record has the address, the name, what the server lists, tokens and latencies; its time
    is marked as the wall clock of a remote engine, and nobody's memory is taken for the model's."""
    run = record(evaluate(server.url, "--concurrency", 4))
    assert run["status"] == "complete"
    assert run["model"]["name"] == "openai:tiny"
    assert run["model"]["weights"] == f"served as tiny by {server.url}"
    assert run["fingerprint"]["endpoint"] == server.url
    assert run["fingerprint"]["served_model"] == "tiny"
    # When it was loaded is no part of which model it is.
    assert run["fingerprint"]["weights"] == {k: LISTED[k] for k in ("id", "root", "owned_by")}
    assert run["settings"]["batch_size"] == run["settings"]["model"]["concurrency"] == 4
    timing = run["timing"]
    assert timing["remote"] is True
    assert "wall clock of a remote engine" in timing["inference_minutes_definition"]
    assert "not comparable" in timing["inference_minutes_definition"]
    assert timing["tokens_out"] == 64 * 3
    assert timing["tokens_in"] == 64 * 11
    rows = RunFolder(Path(run["folder"])).read_predictions()
    latencies = sorted(row.latency for row in rows if row.latency is not None)
    assert len(latencies) == 64
    assert timing["latency_seconds"]["mean"] == pytest.approx(sum(latencies) / 64)
    assert timing["peak_memory_bytes"] == {"process": None, "device": None}
    assert run["environment"]["device"] == "remote engine"
    assert {row.finish for row in rows} == {"stop"}


def test_a_local_run_is_not_remote(command, tiny, drawn, tmp_path) -> None:
    """The marks of a server are on no run that was answered here."""
    result = command(
        *("eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--json"),
        *("--runs", tmp_path / "runs", "--max-new-tokens", 2, "--limit", 2),
    )
    run = record(result)
    assert run["timing"]["remote"] is False
    assert run["timing"]["latency_seconds"] is None
    assert "remote" not in run["timing"]["inference_minutes_definition"]
    assert "endpoint" not in run["fingerprint"]


def test_people_are_told_whose_time_it_is(command, drawn, tmp_path, server) -> None:
    """The printed table says that the time is the wall clock of a remote engine."""
    arguments = ("eval", "--model", "openai:tiny", "--base-url", server.url, "--task", "scienceqa")
    more = ("--data", drawn, "--runs", tmp_path / "runs", "--limit", 2)
    result = command(*arguments, *more)
    assert result.code == 0, result.stderr
    assert "min (wall clock of a remote engine)" in result.stdout


def test_the_page_does_not_set_a_servers_time_beside_others(
    command, evaluate, tmp_path, server
) -> None:
    """The leaderboard marks the time of a run that a server answered."""
    evaluate(server.url, "--limit", 8)
    page = tmp_path / "page.html"
    assert command("report", "--runs", tmp_path / "runs", "--out", page).code == 0
    assert "Wall clock of a remote engine" in page.read_text()


def test_the_documented_commands_work(command, drawn, tmp_path, server, monkeypatch) -> None:
    """What docs/servers.md tells to type is what the command takes."""
    monkeypatch.chdir(tmp_path)
    server.answer = stages
    text = (Path(__file__).resolve().parents[1] / "docs" / "servers.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = block.splitlines()
    assert len(lines) == 3
    for line in lines:
        _, *arguments = shlex.split(line.replace("http://127.0.0.1:8000/v1", server.url))
        split = ("--split", "test") if "distill" in arguments else ()
        result = command(*arguments, "--data", drawn, "--limit", 3, *split)
        assert result.code == 0, result.stderr
    for word in ("HARNESS_API_KEY", "OPENAI_API_KEY", "HARNESS_PROXY"):
        assert word in text
    assert f"up to {TRIES} times" in text
    assert f"{GIVE_UP_AFTER} questions in a row" in text
    assert f"more than {LARGEST // 2**20} MiB" in text


def test_answers_do_not_depend_on_concurrency(evaluate, server) -> None:
    """One after the other, or 16 at once, with other batches: the same record of answers."""
    made = [
        answers(record(evaluate(server.url, "--limit", 20, *how, folder=name)))
        for name, how in (
            ("one", ("--concurrency", 1)),
            ("many", ("--concurrency", 16)),
            ("batches", ("--concurrency", 2, "--batch-size", 7)),
        )
    ]
    assert made[0] == made[1] == made[2]


def test_what_a_server_refuses_or_leaves_empty_is_recorded_as_that(
    evaluate, command, server
) -> None:
    """A refusal, an empty answer and one that a filter or the limit cut are answers that can be
    told apart; nothing is read from a refusal, and none of them is an error."""
    server.answer = in_turn(
        completion("warm"),
        completion(None, refusal="I cannot answer that. B"),
        completion(""),
        completion(None, finish="length"),
        completion("", finish="content_filter"),
        completion("The answer is A.", finish="length"),
    )
    result = evaluate(server.url, "--limit", 5, "--concurrency", 1)
    run = record(result)
    rows = RunFolder(Path(run["folder"])).read_predictions()
    assert [(row.raw, row.answer, row.rule, row.finish) for row in rows[:4]] == [
        ("I cannot answer that. B", None, "refusal", "refusal"),
        ("", None, rows[1].rule, "stop"),
        ("", None, rows[2].rule, "length"),
        ("", None, rows[3].rule, "content_filter"),
    ]
    assert (rows[4].answer, rows[4].finish) == (0, "length")
    assert run["counts"]["unparsed"] == 4
    assert run["counts"]["cut"] == 2
    assert run["counts"]["failed"] == 0
    again = command("rescore", run["folder"], "--json")
    assert again.code == 0
    assert RunFolder(Path(run["folder"])).read_predictions() == rows


def test_a_question_that_fails_for_good_is_an_error_row(evaluate, command, server) -> None:
    """Its reason is in its row, the run is partial (exit 4), and the same command asks it again."""
    bad = "biology"
    ids = {}

    def answer(request: Request) -> Said:
        ids.setdefault(request.text, len(ids))
        return (
            Said({"error": "too long"}, status=413) if ids[request.text] == 1 else letter(request)
        )

    server.answer = answer
    result = evaluate(server.url, "--limit", 6, "--concurrency", 1)
    assert result.code == 4, bad
    (run,) = result.json["runs"]
    assert [error for *_, error in answers(run)].count("HTTP 413: too long") == 1
    assert run["counts"]["failed"] == 1
    server.answer = letter
    before = len(server.questions)
    run = record(evaluate(server.url, "--limit", 6, "--concurrency", 1))
    assert run["counts"]["failed"] == 0
    assert len(server.questions) == before + 2  # it, and one to warm up


def test_a_server_that_is_down_is_told_at_once(evaluate, tmp_path, monkeypatch) -> None:
    """Exit 3, the address and the reason; nothing is left behind that looks like a run."""
    watch = Watch()
    monkeypatch.setattr(client_module, "Pace", lambda: watch.pace)
    with Server() as gone:
        url = gone.url
    result = evaluate(url)
    assert result.code == 3
    assert f"No server answers at {url}." in result.stderr
    assert "Connection refused" in result.stderr
    assert not list(tmp_path.rglob("run.json"))
    assert sum(watch.waits) < 5


def test_a_server_that_is_still_loading_is_waited_for(
    evaluate, server, monkeypatch, caplog
) -> None:
    """llama.cpp says 503 until its model is there."""
    watch = Watch()
    monkeypatch.setattr(client_module, "Pace", lambda: watch.pace)
    loading = Said({"error": {"message": "Loading model"}}, status=503)
    server.models = in_turn(loading, loading, Said({"data": [LISTED]}))
    result = evaluate(server.url, "--limit", 2)
    assert record(result)["counts"]["done"] == 2
    assert caplog.text.count("HTTP 503; waiting up to 300 s") == 1


@pytest.mark.parametrize(
    "listed",
    [
        Said(status=404),
        Said(b"Internal Server Error", status=500),
        Said(b"{"),
        Said([]),
        Said({"data": [{"id": 7}]}),
        Said({"data": [{"id": "a"}, {"id": "b"}]}),
        Said(hang_up=True),
    ],
)
def test_a_list_of_models_is_not_needed(evaluate, server, listed) -> None:
    """A server without a list, or with one that does not name the model, can still answer."""
    server.models = lambda _: listed
    run = record(evaluate(server.url, "--limit", 2))
    assert "weights" not in run["fingerprint"]


def test_llama_cpp_has_one_model_whatever_it_is_called(evaluate, server) -> None:
    """A list of one is the model's, by its own name and size."""
    meta = {"n_params": 4_000_000_000, "n_vocab": 32000, "x": [1]}
    server.models = lambda _: Said({"data": [{"id": "/models/q.gguf", "meta": meta}]})
    run = record(evaluate(server.url, "--limit", 2))
    assert run["fingerprint"]["weights"] == {
        "id": "/models/q.gguf",
        "n_params": 4_000_000_000,
        "n_vocab": 32000,
    }


def test_a_run_goes_on_where_it_was(evaluate, command, server) -> None:
    """A limit, then a larger one: what was answered is not asked again, and the answers are those
    of one run; the same command once more asks nobody, server or not."""
    evaluate(server.url, "--limit", 8)
    first = len(server.questions)
    run = record(evaluate(server.url, "--limit", 24))
    assert len(server.questions) == first + 1 + 16
    whole = record(evaluate(server.url, "--limit", 24, folder="whole"))
    assert answers(run) == answers(whole)
    before = len(server.requests)
    server.close()
    again = record(evaluate(server.url, "--limit", 24))
    assert len(server.requests) == before
    assert again["fingerprint"] == run["fingerprint"]
    assert again["metrics"] == run["metrics"]


def test_another_server_or_model_is_another_run(evaluate, server) -> None:
    """Answers of two addresses, two names, or two listed models are not mixed."""
    evaluate(server.url, "--limit", 8)
    with Server() as other:
        result = evaluate(other.url)
        assert result.code == 2
        assert ": endpoint" in result.stderr
        assert not other.requests
    server.models = lambda _: Said({"data": [{**LISTED, "root": "another", "created": 2}]})
    result = evaluate(server.url)
    assert result.code == 2
    assert ": weights.root" in result.stderr
    result = evaluate(server.url, "--temperature", 0.5)
    assert ": decoding" in result.stderr


def test_a_server_that_goes_away_leaves_a_run_that_goes_on(evaluate, command, tmp_path) -> None:
    """Gone in the middle and not back in time: exit 3, what was answered is kept and the record
    says so; back at the same address, the same command ends with the answers of a whole run."""
    server = Server()

    def answer(request: Request) -> Said:
        if len(server.questions) <= 9:
            return letter(request)
        server.refuse()
        return Said(hang_up=True)

    server.answer = answer
    how = ("--limit", 20, "--concurrency", 4, "--patience", 0)
    result = evaluate(server.url, *how)
    assert result.code == 3
    assert f"{server.url} does not answer." in result.stderr
    assert "when it is back, re-run the same command to resume" in result.stderr
    folder = RunFolder(next(tmp_path.glob("runs/*/*/*")))
    kept = folder.read_predictions()
    assert len(kept) == 8
    assert folder.existing_record().status == "interrupted"
    with Server(port=server.port) as back:
        run = record(evaluate(back.url, *how))
        assert len(back.questions) == 1 + 12
        whole = record(evaluate(back.url, *how, folder="whole"))
    assert answers(run) == answers(whole)


def test_a_server_that_comes_back_in_time_is_gone_on_with(evaluate, monkeypatch, caplog) -> None:
    """Restarted while it is waited for: nothing is lost, and the user was told once."""
    server = Server()
    servers = [server]

    def answer(request: Request) -> Said:
        if len(server.questions) <= 9:
            return letter(request)
        server.refuse()
        return Said(hang_up=True)

    server.answer = answer
    watch = Watch()

    def sleep(seconds: float) -> None:
        watch.sleep(seconds)
        with watch._lock:
            if sum(watch.waits) > 100 and len(servers) == 1:
                servers.append(Server(port=server.port))

    pace = replace(watch.pace, sleep=sleep)
    monkeypatch.setattr(client_module, "Pace", lambda: pace)
    result = evaluate(server.url, "--limit", 16, "--concurrency", 2)
    run = record(result)
    assert run["counts"]["done"] == 16
    assert caplog.text.count("waiting up to 300 s") == 1
    # It is asked what it is before it is asked anything else.
    assert servers[1].requests[0].method == "GET"
    whole = record(evaluate(server.url, "--limit", 16, folder="whole"))
    assert answers(run) == answers(whole)
    servers[1].close()


def test_a_server_that_comes_back_with_another_model_is_refused(
    evaluate, tmp_path, server, monkeypatch
) -> None:
    """Answers of two models in one run would be nobody's: the run ends, and can go on."""
    watch = Watch()
    monkeypatch.setattr(client_module, "Pace", lambda: watch.pace)

    def swap(request: Request) -> Said:
        server.models = lambda _: Said({"data": [{**LISTED, "root": "another"}]})
        return Said(hang_up=True)

    server.answer = in_turn(*[letter] * 9, swap, letter)
    result = evaluate(server.url, "--concurrency", 1)
    assert result.code == 3
    assert "has come back with another model" in result.stderr
    kept = RunFolder(next(tmp_path.glob("runs/*/*/*"))).read_predictions()
    assert len(kept) == 8


@pytest.mark.process
@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_answers(drawn, tmp_path, server) -> None:
    """SIGTERM while requests are under way ends the command; what was answered is kept."""
    reached, release = threading.Event(), threading.Event()

    def answer(request: Request) -> Said:
        if len(server.questions) <= 9:
            return letter(request)
        reached.set()
        release.wait(60)
        return letter(request)

    server.answer = answer
    arguments = [
        *("eval", "--model", "openai:tiny", "--base-url", server.url, "--task", "scienceqa"),
        *("--data", drawn, "--runs", tmp_path / "runs", "--concurrency", 4),
    ]
    process = commands.start(*arguments)
    assert reached.wait(60)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    release.set()
    assert process.returncode == 143
    assert "Traceback" not in err
    assert len(RunFolder(next(tmp_path.glob("runs/*/*/*"))).read_predictions()) == 8


@pytest.mark.process
def test_nothing_heavy_is_imported(drawn, tmp_path, server) -> None:
    """Whoever asks a server does not wait for torch."""
    code = (
        "import sys; from harness import cli\n"
        f"sys.argv = ['harness', 'eval', '--model', 'openai:tiny', '--base-url', '{server.url}',"
        f" '--task', 'scienceqa', '--data', '{drawn}', '--runs', '{tmp_path}', '--limit', '2']\n"
        "try: cli.main()\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'pandas'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("HEAVY []")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--conclude", "--style", "structured"), "--conclude needs the likelihood of the options"),
        (("--weights", "random"), "--weights does nothing without a model that is loaded here"),
        (("--size", "mini"), "--size does nothing without a model that is loaded here"),
        (("--device", "cpu"), "--device does nothing without a model that is loaded here"),
        (("--dtype", "float32"), "--dtype does nothing without a model that is loaded here"),
        (("--processor-arg", "a=1"), "--processor-arg does nothing without a model"),
        (("--concurrency", 0), "is not at least 1"),
        (("--request-timeout", "nan"), "is not at most 86400"),
        (("--patience", "inf"), "is not at most 86400"),
    ],
)
def test_what_a_server_cannot_do_is_refused_unasked(evaluate, server, more, message) -> None:
    """Exit 2, the option by name, and not one request."""
    result = evaluate(server.url, *more)
    assert result.code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not server.requests


def test_options_are_not_chosen_by_likelihood(command, drawn, server) -> None:
    """A server does not tell how likely a text is that it did not write."""
    arguments = ("--task", "scienceqa", "--data", drawn, "--mode", "loglikelihood")
    result = command("eval", "--model", "openai:tiny", "--base-url", server.url, *arguments)
    assert result.code == 2
    assert "--mode loglikelihood needs the likelihood of the options" in result.stderr
    assert not server.requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "openai:x"), "needs the address of its server"),
        (("--model", "openai:", "--base-url", "http://127.0.0.1:9"), "say what the server calls"),
        (
            ("--model", "vilt", "--base-url", "http://127.0.0.1:9"),
            "--base-url does nothing without",
        ),
        (("--model", "vilt", "--concurrency", 2), "--concurrency does nothing without"),
    ],
)
def test_half_a_server_is_refused(command, drawn, arguments, message) -> None:
    """A name without an address, and an address without a name."""
    result = command("eval", *arguments, "--task", "scienceqa", "--data", drawn)
    assert result.code == 2
    assert message in result.stderr


@pytest.mark.parametrize("option", ["--request-timeout", "--patience"])
@pytest.mark.parametrize("value", ["86401", "1e10", "inf", "nan", "-1"])
@pytest.mark.parametrize("name", ["eval", "distill"])
def test_times_beyond_a_day_are_refused(command, server, option, value, name) -> None:
    """Whoever wants no limit is told the longest there is; nothing is asked."""
    at = ("--base-url", server.url, option, value)
    arguments = {
        "eval": ("eval", "--model", "openai:tiny", "--task", "scienceqa-mini", *at),
        "distill": ("distill", "rationales", "--teacher", "openai:tiny", *at),
    }
    result = command(*arguments[name])
    assert result.code == 2
    assert option in result.stderr
    assert server.requests == []


def test_ask_and_check_take_a_server_too(command, server) -> None:
    """One question from the shell, and a look before a long night."""
    server.answer = lambda _: completion("The answer is B.")
    at = ("--base-url", server.url)
    asked = command(
        "ask", "--model", "openai:tiny", *at, "-q", "Which?", "--choices", "x", "--choices", "y"
    )
    assert asked.code == 0, asked.stderr
    assert "Answer: B, y" in asked.stdout
    checked = command("check", "openai:tiny", *at)
    assert checked.code == 0, checked.stderr
    assert "OpenAI-compatible server" in checked.stdout
    report = command("check", "openai:tiny", *at, "--json").json
    assert report["same_answers_in_a_batch"] is True
    server.answer = lambda _: Said({"error": "no pictures here"}, status=400)
    for arguments in (("ask", "--model", "openai:tiny", "-q", "x"), ("check", "openai:tiny")):
        failed = command(*arguments, *at)
        assert failed.code == 3
        assert "HTTP 400: no pictures here" in failed.stderr


# A teacher


def teach(command, data: Path, folder: Path, url: str, *more: object) -> Any:
    return command(
        *("distill", "rationales", "--teacher", "openai:tiny", "--base-url", url, "--data", data),
        *("--split", "test", "--runs", folder / "runs", "--name", "kd", "--json", *more),
    )


def stages(request: Request) -> Said:
    """A rationale that concludes the answer that the teacher was given."""
    given = request.text.partition("The correct answer is ")[2][:1]
    return completion(
        f"<SUMMARY> s {len(request.text)} </SUMMARY> <CAPTION> c </CAPTION> "
        f"<REASONING> r </REASONING> <CONCLUSION> {given} </CONCLUSION> and more"
    )


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "runs" / "distill" / "kd" / name
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{**row, "seconds": None} for row in rows]


def test_a_server_teaches(command, drawn, tmp_path, server) -> None:
    """Rationales of a server's model: asked with the answer, cut behind the last tag, kept by the
    same filters, with the address in the record."""
    server.answer = stages
    result = teach(command, drawn, tmp_path, server.url, "--limit", 12, "--filter", "agrees")
    assert result.code == 0, result.stderr
    assert result.json["counts"]["kept"] == 12
    assert result.json["fingerprint"]["endpoint"] == server.url
    assert json.loads(result.json["fingerprint"]["weights"])["root"] == "tiny-root"
    kept = lines(tmp_path, "rationales.jsonl")
    assert all(row["raw"].endswith("</CONCLUSION>") for row in kept)
    assert all(row["teacher"] == "openai:tiny" for row in kept)
    before = len(server.requests)
    again = teach(command, drawn, tmp_path, server.url, "--limit", 12, "--filter", "agrees")
    assert again.code == 0
    assert len(server.requests) == before


def test_a_teacher_is_asked_as_many_at_once_as_its_server_takes(
    command, drawn, tmp_path, server
) -> None:
    """Its --concurrency, unless another number is asked for; sampled texts depend on it."""
    server.answer = stages
    how = ("--limit", 4, "--attempts", 2, "--concurrency", 3)
    assert teach(command, drawn, tmp_path, server.url, *how).json["fingerprint"]["sampling"] == {
        "temperature": 0.7,
        "top_p": 0.95,
        "seed": 0,
        "batch_size": 3,
    }
    folder = tmp_path / "other"
    other = teach(command, drawn, folder, server.url, *how, "--teacher-batch-size", 2)
    assert other.json["fingerprint"]["sampling"]["batch_size"] == 2


def test_a_teacher_that_goes_away_is_gone_on_with(command, drawn, tmp_path) -> None:
    """What it wrote is kept and the record says so; back, it ends with the texts of a whole run."""
    server = Server()

    def answer(request: Request) -> Said:
        if len(server.questions) <= 5:
            return stages(request)
        server.refuse()
        return Said(hang_up=True)

    server.answer = answer
    how = ("--limit", 10, "--concurrency", 4, "--patience", 0)
    result = teach(command, drawn, tmp_path, server.url, *how)
    assert result.code == 3
    record_path = tmp_path / "runs" / "distill" / "kd" / "rationales.json"
    assert json.loads(record_path.read_text())["status"] == "interrupted"
    assert len(lines(tmp_path, "attempts.jsonl")) == 4
    with Server(stages, port=server.port) as back:
        assert teach(command, drawn, tmp_path, back.url, *how).code == 0
        assert teach(command, drawn, tmp_path / "whole", back.url, *how).code == 0
    for name in ("rationales.jsonl", "attempts.jsonl"):
        assert lines(tmp_path, name) == lines(tmp_path / "whole", name)


def test_a_teachers_refusal_is_no_rationale(command, drawn, tmp_path, server) -> None:
    """Not even with the filter that keeps any text: it is named as failed, and asked again."""
    server.answer = in_turn(stages, completion(None, refusal="I cannot help with that."), stages)
    result = teach(command, drawn, tmp_path, server.url, "--limit", 4, "--concurrency", 1)
    assert result.code == 4
    assert result.json["counts"]["failed"] == 1
    (rejected,) = lines(tmp_path, "rejected.jsonl")
    assert rejected["reasons"] == ["failed: refused: I cannot help with that."]
    assert teach(command, drawn, tmp_path, server.url, "--limit", 4).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--teacher", "openai:tiny"), "needs the address of its server"),
        (("--base-url", "http://127.0.0.1:9"), "--base-url does nothing without"),
        (("--patience", 3), "--patience does nothing without"),
        (
            (
                "--teacher",
                "openai:tiny",
                "--base-url",
                "http://127.0.0.1:9",
                "--teacher-weights",
                "x",
            ),
            "--teacher-weights does nothing without",
        ),
        (("--teacher", "openai:tiny", "--base-url", "http://me:hunter2@x"), "holds a user name"),
    ],
)
def test_half_a_teacher_is_refused(command, drawn, tmp_path, arguments, message) -> None:
    """The same rules as for evaluation."""
    result = command(
        *("distill", "rationales", "--data", drawn, "--split", "test"),
        *("--runs", tmp_path / "runs", *arguments),
    )
    assert result.code == 2
    assert message in result.stderr
    assert "hunter2" not in result.stderr
