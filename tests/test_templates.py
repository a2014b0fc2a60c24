"""Chat templates: those of folders without one, dates in them, and the user's own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distill.rationales.teacher import teacher_of
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.core.options import ModelOptions
from harness.core.types import Prompt
from harness.families import llava_next
from harness.models.loading import LoadOptions, load, processor_of
from harness.models.prompt_format import PromptFormat, prompt_format_for
from harness.sources.weights import Weights

PICTURE = Image.new("RGB", (60, 40))
# As Llama 3.2 Vision's: a system turn with today's date, but only where there is no picture.
DATED = """{% if not date_string is defined %}
    {% if strftime_now is defined %}
        {% set date_string = strftime_now("%d %b %Y") %}
    {% else %}
        {% set date_string = "26 Jul 2024" %}
    {% endif %}
{% endif %}
{% for message in messages %}
{% if not message.content | selectattr('type', 'equalto', 'image') | list %}
{{- "Today Date: " + date_string + " " }}
{% endif %}
{% for part in message.content %}
{% if part.type == 'image' %}<|image|>{% else %}{{ part.text }}{% endif %}
{% endfor %}
{% endfor %} Answer:"""


def own(image: str) -> str:
    """A template of no published model; `image` is where a picture goes."""
    return (
        "{% for message in messages %}OWN {% for part in message.content %}"
        f"{{% if part.type == 'image' %}}{image}{{% else %}}{{{{ part.text }}}}{{% endif %}}"
        "{% endfor %} END {% endfor %}"
    )


OWN = own("<|image|>")


def copied(folder: Path, to: Path, *, template: str | None = None, **fields: Any) -> Path:
    """A copy with another chat template, and other fields of text_config."""
    shutil.copytree(folder, to)
    if template is not None:
        (to / "chat_template.jinja").write_text(template)
    config = json.loads((to / "config.json").read_text())
    config["text_config"] |= fields
    (to / "config.json").write_text(json.dumps(config))
    return to


def loaded(folder: Path) -> Any:
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))


def asked(*images: Image.Image) -> Prompt:
    return Prompt(text="Why?", question="Why?", images=images, style="plain")


def prompts(model: Any) -> list[str]:
    """What a question without a picture becomes, and one with."""
    return [row.text for row in model.prepare([asked(), asked(PICTURE)])]


# Dates


def test_a_prompt_has_the_templates_own_date(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Not today's: the same run on two days has the same prompts."""
    model = loaded(copied(tiny("llava-cot"), tmp_path / "dated", template=DATED))
    assert prompts(model) == ["Today Date: 26 Jul 2024 \nWhy? Answer:", "<|image|>Why? Answer:"]
    assert model.rendering["template_rule"] == "constant date"


@pytest.fixture(scope="module")
def worded(tiny: Callable[..., Path]) -> Callable[[str], PromptFormat]:
    """`worded(template)` is the prompt format of LLaVA-CoT's folder with that template."""
    checkpoint = find_checkpoint(str(tiny("llava-cot")))
    processor = processor_of(checkpoint, {})

    def made(template: str) -> PromptFormat:
        processor.chat_template = template
        return prompt_format_for(processor, checkpoint, None)

    return made


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("{{ strftime_now('%Y-%m-%d') }}", "2024-07-26"),
        ('{{ strftime_now( "%B %d, %Y" ) }}', "July 26, 2024"),
        ("{% set form = '%Y' %}{{ strftime_now(form) }}", "26 Jul 2024"),
        ("{{ strftime_now('%Y') if strftime_now is defined else '1 May 2020' }}", "1 May 2020"),
    ],
)
def test_a_template_without_a_default_gets_a_date_that_never_changes(
    worded: Callable[[str], PromptFormat], said: str, date: str
) -> None:
    """In the form that it asks for; a default of its own goes first."""
    assert worded(f"{said} {OWN}")(asked()) == f"{date} OWN Why? END "


@pytest.mark.parametrize(
    "start", ["", "\n", "\n\n", "  ", " {% if 1 %} x{% endif %}", "\n {# c #}"]
)
def test_taking_the_date_away_changes_nothing_else(
    worded: Callable[[str], PromptFormat], start: str
) -> None:
    """White space at the template's beginning included."""
    plain, dated = worded(start + OWN), worded(f"{start}{OWN}{{# strftime_now #}}")
    assert (plain.rule, dated.rule) == (None, "constant date")
    for prompt in (asked(), asked(PICTURE)):
        assert plain(prompt) == dated(prompt)


# LLaVA-NeXT without a template


@pytest.mark.parametrize(
    ("fields", "tokens", "language"),
    [
        ({"model_type": "mistral"}, [], "mistral"),
        ({"model_type": "qwen2"}, ["<|im_start|>"], "qwen2"),
        ({"model_type": "llama"}, ["<s>", "</s>"], "vicuna"),
        ({}, ["<s>", "</s>"], "vicuna"),
        ({"model_type": "llama", "vocab_size": 32064}, ["<s>", "</s>"], "vicuna"),
        ({"model_type": "llama"}, ["<|start_header_id|>", "<|eot_id|>"], "llama-3"),
        ({"model_type": "llama", "vocab_size": 128320}, [], "llama-3"),
        ({"model_type": "llama"}, ["<|im_start|>", "</s>"], "yi"),
        ({"model_type": "llama", "vocab_size": 64064}, ["</s>"], "yi"),
        ({"model_type": "llama"}, ["<|end|>"], None),
        ({"model_type": "gemma"}, ["</s>"], None),
    ],
)
def test_the_language_model_is_told_by_its_config(
    fields: dict[str, Any], tokens: list[str], language: str | None
) -> None:
    assert llava_next.language_of(fields, tokens) == language


NEXT = {
    "mistral": {},
    "vicuna": {"model_type": "llama"},
    "llama-3": {"model_type": "llama", "vocab_size": 128320},
    "qwen2": {"model_type": "qwen2"},
    "yi": {"model_type": "llama", "vocab_size": 64064},
}
TURNS = """mistral [INST] @Why? [/INST]
vicuna USER: @Why? ASSISTANT:
llama-3 <s><|start_header_id|>system<|end_header_id|>||You are a helpful language and vision \
assistant. You are able to understand the visual content that the user provides, and assist the \
user with a variety of tasks using natural language.<|eot_id|>\
<|start_header_id|>user<|end_header_id|>||@Why?<|eot_id|>\
<|start_header_id|>assistant<|end_header_id|>||
qwen2 <|im_start|>system|You are a helpful assistant.<|im_end|>|\
<|im_start|>user|@Why?<|im_end|>|<|im_start|>assistant|
yi <|im_start|>system|Answer the questions.<|im_end|>\
<|im_start|>user|@Why?<|im_end|><|im_start|>assistant|
"""
"""@ is the picture's place, a | of its own a line's end."""


@pytest.mark.parametrize("language", NEXT)
def test_each_language_model_gets_its_own_turns(
    tiny: Callable[..., Path], tmp_path: Path, language: str
) -> None:
    """With and without a picture; what was always asked as it is now needs no rule."""
    turns = dict(line.split(" ", 1) for line in TURNS.splitlines())
    wanted = re.sub(r"(?<!<)\|(?!>)", "\n", turns[language])
    folder = copied(tiny("llava-next"), tmp_path / language, **NEXT[language])
    checkpoint = find_checkpoint(str(folder))
    render = prompt_format_for(processor_of(checkpoint, {}), checkpoint, None)
    for prompt, shown in ((asked(), ""), (asked(PICTURE), "<image>\n")):
        assert render(prompt) == wanted.replace("@", shown)
    assert render.rule == (None if language == "mistral" else language)


def test_an_unknown_language_model_names_the_option(
    command, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = copied(tiny("llava-next"), tmp_path / "odd", model_type="gemma")
    result = command("check", folder, "--device", "cpu")
    assert result.code == Exit.MISSING
    assert "language model gemma" in result.stderr
    assert "--chat-template FILE" in result.stderr


# The user's own


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "own.jinja"
    file.write_text(own("<image>") + "\n")
    return file


IMAGES = {"moondream": "<image>", "phi-3.5": "<|image_1|>", "kosmos-2": "", "llava": "<image>"}


@pytest.mark.parametrize("family", IMAGES)
def test_any_model_takes_a_template(
    command, tiny: Callable[..., Path], drawn: Path, tmp_path: Path, family: str
) -> None:
    """Also those that have a wording of their own. The record has the file and its hash."""
    template = tmp_path / "own.jinja"
    template.write_text(own(IMAGES[family]))
    (run,) = command(
        "eval", "--model", tiny(family), "--task", "scienceqa", "--data", drawn, "--limit", 2,
        "--max-new-tokens", 2, "--chat-template", template, "--json", "--runs", tmp_path / "runs",
    ).json["runs"]  # fmt: skip
    (path,) = (tmp_path / "runs").glob("*/*/*/predictions.jsonl")
    for line in path.read_text().splitlines():
        assert json.loads(line)["prompt"].startswith(f"OWN {IMAGES[family]}")
    assert run["counts"]["failed"] == 0
    assert run["fingerprint"]["chat_template"].startswith("sha256:")
    assert run["settings"]["chat_template"] == str(template)
    assert run["settings"]["wording"] != "the paper's code"


def test_a_run_is_of_one_template(
    command, tiny: Callable[..., Path], drawn: Path, tmp_path: Path, template: Path
) -> None:
    """With another text, or without it, it is refused; under another name it is the same."""

    def evaluated(*options: object) -> Any:
        return command(
            "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--limit", 1,
            "--max-new-tokens", 2, "--runs", tmp_path / "runs", *options,
        )  # fmt: skip

    assert evaluated("--chat-template", template).code == 0
    renamed = shutil.copyfile(template, tmp_path / "renamed.jinja")
    assert evaluated("--chat-template", renamed).code == 0
    renamed.write_text(template.read_text().replace("END", "STOP"))
    for options in ((), ("--chat-template", renamed)):
        refused = evaluated(*options)
        assert refused.code == Exit.USAGE
        assert ": chat_template" in refused.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 1_000_001, "at most 1,000,000 are read"),
        (b"{% for message in messages %}", "cannot be used"),
        (b"{{ raise_exception('no pictures') }}", "no pictures"),
        (b"{{ messages[0].content }}", "a list of parts"),
        (b"{{ messages[0].content[-1].text }}", "number of images"),
        (b"{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out the question"),
        (b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        (b"{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be used"),
    ],
)
def test_what_is_no_template_is_a_usage_error(
    command, tiny: Callable[..., Path], tmp_path: Path, content: bytes | None, words: str
) -> None:
    """Found before the weights are read; what is in the file is never run."""
    file = tmp_path / "broken.jinja"
    if content is not None:
        file.write_bytes(content)
    result = command("check", tiny("llava"), "--device", "cpu", "--chat-template", file)
    assert result.code == Exit.USAGE
    assert words in result.stderr
    assert "broken.jinja" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "vilt", "--size", "mini"), "takes none"),
        (("check", "openai:x", "--base-url", "http://127.0.0.1:9"), "a model that is loaded here"),
        (("eval", "-m", "vilt", "-m", "moondream", "-t", "scienceqa"), "goes with one --model"),
        (("bench", "-m", "vilt", "-m", "moondream"), "goes with one --model"),
        (
            ("distill", "rationales", "--teacher", "openai:x", "--base-url", "http://127.0.0.1:9"),
            "loaded here",
        ),
    ],
)
def test_a_template_that_would_do_nothing_is_refused(
    command, template: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = command(*arguments, "--chat-template", template)
    assert result.code == Exit.USAGE
    assert words in result.stderr


def test_ask_and_a_teacher_take_it(
    command, tiny: Callable[..., Path], template: Path, tmp_path: Path
) -> None:
    """`harness ask` shows the prompt; a distillation knows which template wrote its rationales."""
    answer = command(
        "ask", "-m", tiny("llava"), "-q", "Why?", "--max-new-tokens", 2, "--style", "plain",
        "--chat-template", template, "--json",
    )  # fmt: skip
    assert answer.json["output"]["prompt"].startswith("OWN Why?")
    options = ModelOptions(model=str(tiny("llava")), chat_template=template, device="cpu")
    teacher = teacher_of(Weights(options))
    assert teacher.settings["chat_template"].startswith("sha256:")
    assert teacher.rendering() == {}
    teacher.load()
    assert teacher.rendering()["template"] is not None


# The fingerprint


def test_the_fingerprint_covers_prompts_with_and_without_a_picture(
    tiny: Callable[..., Path],
    worded: Callable[[str], PromptFormat],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A template that words only one of the two in another way has another hash."""
    model = loaded(tiny("llava-cot"))

    def hashed(template: str) -> str:
        monkeypatch.setattr(model, "_prompt_format", worded(template))
        return model.rendering["template"]

    assert hashed(OWN) == hashed(f"{OWN}{{# other words #}}")
    pictured = OWN.replace("<|image|>", "<|image|> ")
    bare = f"{{% if not messages[0].content[1:] %}} {{% endif %}}{OWN}"
    assert len({hashed(template) for template in (OWN, pictured, bare)}) == 3


@pytest.mark.slow
def test_older_runs_are_resumed_unless_their_prompts_were_others(
    command, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """A record from before these fields: LLaVA-NeXT on Mistral is as it was; on Vicuna it was asked
    in Mistral's turns."""

    def evaluated(folder: Path, limit: int) -> Any:
        return command(
            "eval", "--model", folder, "--task", "scienceqa", "--data", drawn, "--limit", limit,
            "--max-new-tokens", 2, "--runs", tmp_path / "runs",
        )  # fmt: skip

    for rule, codes in (("mistral", (0, 0)), ("vicuna", (0, Exit.USAGE))):
        fields = {"model_type": "llama"} if rule == "vicuna" else {}
        folder = copied(tiny("llava-next"), tmp_path / rule, **fields)
        first = evaluated(folder, 1).code
        (path,) = (tmp_path / "runs").glob(f"*/{rule}/*/run.json")
        record = json.loads(path.read_text())
        for name in ("template", "template_rule", "chat_template", "vision_features"):
            record["fingerprint"].pop(name)
        path.write_text(json.dumps(record))
        again = evaluated(folder, 2)
        assert (first, again.code) == codes
        assert ("template_rule" in again.stderr) == bool(again.code)


def test_todays_date_is_nowhere(worded: Callable[[str], PromptFormat]) -> None:
    """A guard for the two ways of the library that know it."""
    today = datetime.now(UTC).strftime("%d %b %Y")
    dated = worded(DATED)
    assert today not in dated(asked()) + dated(asked(PICTURE))


def test_a_missing_template_names_the_option(
    command, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """For architectures of which none is known."""
    folder = Path(shutil.copytree(tiny("llava"), tmp_path / "bare"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(HarnessError, match="no chat template") as caught:
        loaded(folder)
    assert "--chat-template FILE" in caught.value.remedy
