"""The failure matrix: what can be bad, what the user is told of it, and the exit code.

Every case starts from a folder in which all is well: questions, a checkpoint, a run of it, answers
made elsewhere. A builder spoils one thing, a command meets it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROWS = "data/test.jsonl"
"""Four questions, each with a picture."""
PICTURE = "data/images/geography-00.png"
"""That of the first."""
CONFIG, WEIGHTS = "model/config.json", "model/model.safetensors"
TOKENIZER, PROCESSOR = "model/tokenizer.json", "model/processor_config.json"
INDEX = "model/model.safetensors.index.json"
MARK = "model/mini.json"
RUN = "runs/scienceqa/model/test"
"""`model` on the first two questions."""
RECORD, PREDICTIONS = f"{RUN}/run.json", f"{RUN}/predictions.jsonl"
OTHER = "runs/scienceqa/other/test"
ANSWERS = "answers.jsonl"
"""Two answers made elsewhere."""
MINE = "mine.py"
PATHS = {
    "root": ".",
    "data": "data",
    "model": "model",
    "runs": "runs",
    "run": RUN,
    "other": OTHER,
    "answers": ANSWERS,
    "mine": MINE,
}
"""What the arguments of a case name in braces."""

PATIENCE = 20
"""Seconds for one command; the slowest takes one."""
LIMITS = "--runs {runs} --limit 2 --max-new-tokens 2 --device cpu --json"
ON = "--task scienceqa --data {data}"
EVAL = f"eval --model {{model}} {ON} {LIMITS}"
ANEW = f"{EVAL} --name anew"
OPEN = f"eval --model {{model}} --task vqaonline --data {{data}} {LIMITS} --bertscore none"
OWN = f"eval --model {{model}} --task {{mine}} --data {{data}} {LIMITS}"
SCORE = "score {answers} --task scienceqa --runs {runs} --json"
SCORE_OPEN = "score {answers} --task vqaonline --runs {runs} --bertscore none --json"
SHOW, SHOW_TABLE = "show {run} --json", "show {run}"
RESCORE = "rescore {run} --json"
COMPARE = "compare {run} {other} --json"
EXPORT = "export --runs {runs}"
REPORT = "report --runs {runs} --out {root}/page.html --json"


@dataclass(frozen=True)
class Place:
    """The folder of one case, and what is to be undone behind it."""

    root: Path
    undo: ExitStack


Build = Callable[[Place], object]


@dataclass(frozen=True)
class Case:
    """One bad input."""

    id: str
    build: Build
    arguments: str
    code: int
    message: str
    """A regular expression for what stderr says, as one line."""


def cases(arguments: str, code: int, *each: tuple[str, Build, str]) -> list[Case]:
    """Cases that share a command and an exit code."""
    return [Case(name, build, arguments, code, message) for name, build, message in each]


# Builders. Each spoils one thing; names are paths within the place.


def nothing(_: Place) -> None:
    """The command alone is wrong."""


def both(*builds: Build) -> Build:
    return lambda place: [build(place) for build in builds]


def content(name: str, data: str | bytes) -> Build:
    """That file holds that, and nothing else."""

    def build(place: Place) -> None:
        path = place.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    return build


def data(name: str, text: str | bytes) -> Build:
    """The data folder holds that file, and nothing else."""
    return both(no_files, content(f"data/{name}", text))


def no_files(place: Place) -> None:
    shutil.rmtree(place.root / "data")
    (place.root / "data").mkdir()


def without(name: str) -> Build:
    return lambda place: (place.root / name).unlink()


def cut(name: str) -> Build:
    """The first two thirds of the file."""

    def build(place: Place) -> None:
        path = place.root / name
        os.truncate(path, path.stat().st_size * 2 // 3)

    return build


def folder(name: str) -> Build:
    return both(without(name), lambda place: (place.root / name).mkdir())


def pipe(name: str) -> Build:
    return both(without(name), lambda place: os.mkfifo(place.root / name))


def link(name: str, target: str) -> Build:
    return both(without(name), lambda place: (place.root / name).symlink_to(target))


def line(name: str, data: str | bytes) -> Build:
    """The second line of the file is that."""

    def build(place: Place) -> None:
        lines = (place.root / name).read_bytes().split(b"\n")
        lines[1] = data if isinstance(data, bytes) else data.encode()
        (place.root / name).write_bytes(b"\n".join(lines))

    return build


def fields(name: str, /, **changed: object) -> Build:
    """Fields of a JSON file, or of a JSONL file's first line, are these; `...` removes one,
    `a__b` is field b of a."""

    def build(place: Place) -> None:
        path = place.root / name
        text, end, rest = path.read_text(), "", ""
        if path.suffix == ".jsonl":
            text, end, rest = text.partition("\n")
        whole = json.loads(text)
        for key, value in changed.items():
            *parents, last = key.split("__")
            part = whole
            for parent in parents:
                part = part[parent]
            part[last] = value
            if value is ...:
                del part[last]
        path.write_text(json.dumps(whole) + end + rest)

    return build


def row(**changed: object) -> Build:
    return fields(ROWS, **changed)


def answer(**changed: object) -> Build:
    return fields(ANSWERS, **changed)


def text_rows(place: Place) -> None:
    rows = [json.loads(text) for text in (place.root / ROWS).read_text().splitlines()]
    (place.root / ROWS).write_text("".join(json.dumps(r | {"image": None}) + "\n" for r in rows))


def utf16(name: str) -> Build:
    return lambda place: (place.root / name).write_text((place.root / name).read_text(), "utf-16")


def picture_outside(place: Place) -> None:
    shutil.move(place.root / PICTURE, place.root / "outside.png")
    (place.root / PICTURE).symlink_to("../../outside.png")


def bomb(place: Place) -> None:
    """A picture of a few bytes that says it has 30,000 by 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(100_000)), b"IEND"]
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    (place.root / PICTURE).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def parquet(place: Place) -> None:
    """The questions in a Parquet file, cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [json.loads(text) for text in (place.root / ROWS).read_text().splitlines()]
    no_files(place)
    path = place.root / "data" / "test-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    os.truncate(path, path.stat().st_size // 2)


def raw_safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(64)


def tensors(change: Callable[[dict[str, Any]], object]) -> Build:
    """The weights are changed."""

    def build(place: Place) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(place.root / WEIGHTS)
        change(weights)
        save_file(weights, place.root / WEIGHTS, metadata={"format": "pt"})

    return build


def transposed(weights: dict[str, Any]) -> None:
    name = next(name for name in weights if name.endswith("down_proj.weight"))
    weights[name] = weights[name].T.contiguous()


def renamed(weights: dict[str, Any]) -> None:
    for name in list(weights):
        weights[f"ema.{name}"] = weights.pop(name)


def shards(**weight_map: object) -> Build:
    return content(INDEX, json.dumps({"weight_map": weight_map}))


def shard_outside(place: Place) -> None:
    shutil.copy(place.root / WEIGHTS, place.root / "outside.safetensors")
    (place.root / WEIGHTS).rename(place.root / "model" / "part.safetensors")
    shards(a="part.safetensors", b="../outside.safetensors")(place)


def own_code(place: Place) -> None:
    """A checkpoint that could only be loaded by running the Python in it."""
    classes = {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"}
    fields(CONFIG, model_type="its_own", auto_map=classes)(place)
    marker = place.root / "it-ran"
    (place.root / "model" / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")

    def check() -> None:
        assert not marker.exists()

    place.undo.callback(check)


def template(text: str) -> Build:
    return content("model/chat_template.jinja", text)


def no_template(place: Place) -> None:
    """A checkpoint without a template, of a kind for which the catalogue has none either."""
    from harness.families.tiny import build

    shutil.rmtree(place.root / "model")
    build("llava", place.root / "model")
    (place.root / "model" / "chat_template.jinja").unlink(missing_ok=True)


def other_weights(place: Place) -> None:
    from harness.families.tiny import build

    build("llava-next", place.root / "model", seed=1)


LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]}


def lora(config: object, weights: str | bytes = raw_safetensors(b"{}")[:-64]) -> Build:
    """An adapter folder."""
    return both(
        content("lora/adapter_config.json", json.dumps(config)),
        content("lora/adapter_model.safetensors", weights),
    )


def lock(place: Place) -> None:
    file = place.undo.enter_context((place.root / RUN / ".lock").open("a+b"))
    fcntl.flock(file, fcntl.LOCK_EX)


def full_disk(size: int) -> Build:
    """No file can grow beyond `size` bytes."""

    def build(place: Place) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        place.undo.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    return build


def full_for_answers(place: Place) -> None:
    """There is room for run.json, and for not all of the answers."""
    path = place.root / PREDICTIONS
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(
            json.dumps({**row, "raw": "x" * 6000}, separators=(",", ":")) + "\n" for row in rows
        )
    )
    full_disk(path.stat().st_size + 500)(place)


def without_gpu(_: Place) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device, so that it cannot be missing")


def other_run(place: Place) -> None:
    shutil.copytree(place.root / RUN, place.root / OTHER)


def nothing_equal(place: Place) -> None:
    other_run(place)
    path = place.root / OTHER / "predictions.jsonl"
    path.write_text(re.sub(r'"question": ?"', r"\g<0>Once more: ", path.read_text()))


def nothing_shared(place: Place) -> None:
    other_run(place)
    path = place.root / OTHER / "predictions.jsonl"
    path.write_text(path.read_text().replace("geography-", "geology-"))


def own_task(code: str = "", **changed: str) -> Build:
    """A task file with `code`, and ScienceQA's task with changed fields."""
    values = "".join(f", {key}={value}" for key, value in changed.items())
    return content(
        MINE,
        "from dataclasses import replace\n"
        "from tasks.scienceqa import TASK as SCIENCEQA\n"
        f"{code}\n"
        f"TASK = replace(SCIENCEQA, name='mine', title='Mine'{values})\n",
    )


NESTED = "[" * 100_000
LATIN = '{"id": "é"}'.encode("latin-1")
CSV = "index,question,A,B,answer,image\n"
F99 = b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}'
BEYOND = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4000]}}'
RAISES = "def f(*_):\n    return 1 / 0"
CASES = [
    *cases(  # Data files that are no data files.
        EVAL,
        3,
        ("data cut", cut(ROWS), r"test\.jsonl, line \d: not valid JSON"),
        ("data a line of text", line(ROWS, "hello"), r"test\.jsonl, line 2: not valid JSON"),
        ("data a row of a list", line(ROWS, "[1]"), r"line 2: must be an object, found \[1\]"),
        ("data a row of null", line(ROWS, "null"), r"line 2: must be an object, found None"),
        ("data nested", line(ROWS, NESTED), r"line 2: not valid JSON: .*recursion"),
        ("data a line of 10 MB", line(ROWS, "x" * 10**7), r"line 2: not valid JSON.{1,200}$"),
        ("data a huge integer", line(ROWS, "9" * 5000), r"line 2: not valid JSON.*digits"),
        ("data in Latin-1", line(ROWS, LATIN), r"line 2: not UTF-8: byte 0xe9.*Convert the file"),
        ("data in UTF-16", utf16(ROWS), r"line 1: not UTF-8: byte 0xff.*Convert the file"),
        ("data NUL bytes", line(ROWS, b"\0\0\0"), r"line 2: not valid JSON"),
        ("data of 0 bytes", content(ROWS, ""), r"data holds no rows\. Split: test"),
        ("data blank", content(ROWS, "\n \n\n"), r"data holds no rows\. Split: test"),
        ("data a pipe", pipe(ROWS), r"data holds no data set.*Looked for test\.jsonl"),
        ("data a folder", folder(ROWS), r"data holds no data set.*Looked for test\.jsonl"),
        ("data none", no_files, r"data holds no data set.*Looked for test\.jsonl"),
        (
            "data without images",
            text_rows,
            r"0 of 4 rows .*The fields are id, image, .*Call the field.*harness score",
        ),
        ("array cut", data("test.json", '[{"question": "a'), r"json, object 1: not valid JSON"),
        ("array an object", data("test.json", "{}"), r"test\.json: must be a JSON array"),
        ("csv columns", data("test.csv", "a,b\n1,2\n"), r"csv, line 1: no column 'question'"),
        ("csv cells", data("test.csv", CSV + "1,q,a,b,A\n"), r"csv, line 2: 5 cells, .* has 6"),
        ("csv quote", data("test.csv", CSV + '1,"q,a,b,A,\n'), r"csv, line 2: unexpected end"),
        (
            "csv answer",
            data("test.csv", CSV + "1,q,a,b,C,eA==\n"),
            r"'answer': must be the right option: .*A to B",
        ),
        (
            "csv other row",
            data("test.csv", CSV + "1,q,a,b,A,7\n"),
            r"'image': .*no row with index '7'",
        ),
        (
            "csv own row",
            data("test.csv", CSV + "1,q,a,b,A,1\n"),
            r"'image': '1' \(str\) refers back",
        ),
        ("parquet cut", parquet, r"test-00000-of-00001\.parquet cannot be read.*Download"),
        ("parquet of text", data("test.parquet", "question\n"), r"test\.parquet cannot be read"),
        ("arrow of zeros", data("test.arrow", bytes(4096)), r"test\.arrow cannot be read"),
        ("release cut", data("problems.json", '{"1": {"qu'), r"problems\.json: not valid JSON"),
        ("release a list", data("problems.json", "[]"), r"problems\.json: must be an object"),
        (
            "release splits",
            both(data("problems.json", "{}"), content("data/pid_splits.json", '{"test": ["1"]}')),
            r"pid_splits\.json, split 'test': '1' .*is no question's id",
        ),
        (
            "saved set outside",
            data("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}'),
            r"state\.json, field 'filename': '\.\./x\.arrow' .*leads out",
        ),
        ("saved set files", data("state.json", '{"_data_files": 3}'), r"'_data_files': must list"),
    ),
    *cases(  # Fields of a row.
        EVAL,
        3,
        ("question missing", row(question=...), r"jsonl, line 1, field 'question': missing"),
        ("question blank", row(question=" "), r"line 1, field 'question': must not be empty"),
        ("question a number", row(question=7), r"'question': must be text, found 7 \(int\)"),
        ("question a surrogate", row(question="\ud800"), r"'question': must be .* UTF-8 can hold"),
        ("choices missing", row(choices=...), r"field 'choices': missing; it must be a list"),
        ("choices a text", row(choices="AB"), r"'choices': must be a list of 2 to 26 texts, found"),
        ("choices one", row(choices=["a"]), r"'choices': must be a list of 2 to 26 texts, found"),
        ("choices mixed", row(choices=["a", 2]), r"'choices': must be a list of 2 to 26 texts"),
        (
            "answer missing",
            row(answer=...),
            r"line 1, field 'answer': missing; it must be .* place, 0 to 3",
        ),
        ("answer out of range", row(answer=4), r"'answer': must be .*0 to 3.*found 4 \(int\)"),
        ("answer negative", row(answer=-1), r"field 'answer': must be .*0 to 3.*found -1 \(int\)"),
        ("answer a boolean", row(answer=True), r"field 'answer': must be .*0 to 3.*found True"),
        ("answer a float", row(answer=1.0), r"field 'answer': must be .*0 to 3.*found 1\.0"),
        ("answer NaN", row(answer=float("nan")), r"field 'answer': must be .*0 to 3.*found nan"),
        (
            "answer infinite",
            row(answer=float("inf")),
            r"field 'answer': must be .*0 to 3.*found inf",
        ),
        ("answer enormous", row(answer=10**400), r"field 'answer': must be .*0 to 3.{1,190}$"),
        ("answer a letter", row(answer="Z"), r"field 'answer': must be .*0 to 3.*found 'Z'"),
        ("id twice", row(id="geography-01"), r"line 2, field 'id': .* twice.*jsonl, line 1"),
        ("id a list", row(id=[]), r"line 1, field 'id': must be text, found \[\] \(list of 0\)"),
        ("topic a number", row(topic=3), r"line 1, field 'topic': must be text, found 3"),
        (
            "path absolute",
            row(image="/etc/passwd"),
            r"'image': '/etc/passwd'.* is an absolute path",
        ),
        ("path upwards", row(image="a/../../b.png"), r"'image': .*leads out of the data folder"),
        ("path a link", picture_outside, r"'image': .*is a link that leads out of the data folder"),
        ("path of Windows", row(image="C:\\a.png"), r"field 'image': .*is an absolute path"),
        ("path up in Windows", row(image="..\\a.png"), r"'image': .*leads out of the data folder"),
        ("path of a share", row(image="\\\\host\\a"), r"field 'image': .*is an absolute path"),
        ("path with two slashes", row(image="//a.png"), r"field 'image': .*is an absolute path"),
        ("path of a home", row(image="~root/a.png"), r"field 'image': .*is an absolute path"),
        ("path with NUL", row(image="a\0.png"), r"field 'image': .*is not a file name"),
        ("path a number", row(image=5), r"line 1, field 'image': must be a path, .*found 5"),
    ),
    # Other ways to ask for data.
    Case(
        "open answer an index",
        nothing,
        OPEN,
        3,
        r"line 1, field 'answer': must be text, as .* found \d",
    ),
    Case(
        "data not there",
        nothing,
        f"eval --model {{model}} --task scienceqa --data {{root}}/none {LIMITS}",
        3,
        r"no file or folder .*/none\. Name the data with --data PATH",
    ),
    Case(
        "data of another kind",
        content(MINE, ""),
        f"eval --model {{model}} --task scienceqa --data {{mine}} {LIMITS}",
        3,
        r"mine\.py is not a data file of a known kind",
    ),
    Case(
        "split not there",
        nothing,
        f"{EVAL} --split validation",
        3,
        r"no split 'validation'\. It has test\..*--split test",
    ),
    Case(
        "split a path",
        nothing,
        f"{EVAL} --split ../../etc",
        3,
        r"no split '\.\./\.\./etc'\. It has test",
    ),
    Case(
        "hub data not here",
        nothing,
        f"eval --model {{model}} --task scienceqa --split minitest {LIMITS}",
        3,
        r"derek-thomas/ScienceQA.*Looked in.*hf download --repo-type",
    ),
    *cases(  # Pictures: the sample fails, the others are answered.
        ANEW,
        4,
        (
            "image missing",
            without(PICTURE),
            r"geography-00: images/geography-00\.png: .*is missing",
        ),
        ("image cut", cut(PICTURE), r"images/geography-00\.png: cannot be decoded: "),
        ("image of 0 bytes", content(PICTURE, ""), r"00\.png: not a picture .*the file is empty"),
        (
            "image renamed",
            content(PICTURE, "hello"),
            r"00\.png: not a picture in one of the formats",
        ),
        (
            "image PostScript",
            content(PICTURE, "%!PS-Adobe-3.0 EPSF-3.0\n"),
            r"00\.png: not a picture",
        ),
        ("image a folder", folder(PICTURE), r"images/geography-00\.png: it is not a regular file"),
        ("image a pipe", pipe(PICTURE), r"images/geography-00\.png: it is not a regular file"),
        ("image a loop", link(PICTURE, "geography-00.png"), r"00\.png: Too many levels of symb"),
        ("image a bomb", bomb, r"00\.png: its number of pixels is more than the 67,108,864"),
        (
            "image of 300 MB",
            lambda place: os.truncate(place.root / PICTURE, 300 * 2**20),
            r"00\.png: it has 314,572,800 bytes, and at most",
        ),
        (
            "image name too long",
            row(image="a.b" * 100),
            r"geography-00: (a\.b)+.*: File name too long",
        ),
        ("image settings", fields(PROCESSOR, image_processor__image_mean="x"), r"00: .*mean must"),
        (
            "image no base64",
            data("test.csv", CSV + "1,q,a,b,A,@@\n"),
            r"Failed: 1: @@: the file is missing",
        ),
    ),
    *cases(  # Checkpoints.
        ANEW,
        3,
        ("config missing", without(CONFIG), r"model has no config\.json: it is not a checkpoint"),
        ("config cut", cut(CONFIG), r"config\.json cannot be read"),
        ("config nested", content(CONFIG, NESTED), r"config\.json cannot be read"),
        ("config in Latin-1", content(CONFIG, LATIN), r"config\.json cannot be read.*utf-8"),
        ("config a list", content(CONFIG, "[]"), r"config\.json is not a JSON object"),
        ("config a folder", folder(CONFIG), r"model has no config\.json"),
        ("config a pipe", pipe(CONFIG), r"model has no config\.json"),
        ("config empty", content(CONFIG, "{}"), r"config\.json.*model_type"),
        ("config type null", fields(CONFIG, model_type=None), r"config\.json.*model_type"),
        ("config type a list", fields(CONFIG, model_type=["llava"]), r"config\.json.*model_type"),
        (
            "config parts null",
            fields(CONFIG, vision_config__hidden_size=None),
            r"cannot be loaded .*hidden_size",
        ),
        ("config parts lists", fields(CONFIG, text_config=[]), r"cannot be loaded as llava_next"),
        (
            "config size a text",
            fields(CONFIG, text_config__hidden_size="big"),
            r"cannot be loaded as llava_next\. .*hidden_size.* expected int",
        ),
        (
            "config size negative",
            fields(CONFIG, text_config__hidden_size=-48),
            r"cannot be loaded as llava_next",
        ),
        (
            "config size enormous",
            fields(CONFIG, text_config__vocab_size=10**15),
            r"do not fit config\.json, which asks for .* weights",
        ),
        ("kind of text", fields(CONFIG, model_type="llama"), r"cannot be loaded as llama"),
        ("kind unknown", fields(CONFIG, model_type="no_such"), r"cannot be loaded as no_such"),
        ("code of its own", own_code, r"config\.json: auto_map wants AutoConfig"),
        ("weights missing", without(WEIGHTS), r"model has no \*\.safetensors"),
        (
            "weights pickled",
            lambda place: (place.root / WEIGHTS).rename(place.root / "model/pytorch_model.bin"),
            r"no \*\.safetensors\. It has pytorch_model\.bin, a pickle, which is never.* Convert",
        ),
        ("mark of a mini a list", content(MARK, "[]"), r"mini\.json has no number of parameters"),
        ("mark of a mini without its size", content(MARK, "{}"), r"mini\.json has no number"),
        ("weights cut", cut(WEIGHTS), r"cannot be loaded as llava_next.*Safetensor.*download"),
        ("weights of 0 bytes", content(WEIGHTS, ""), r"cannot be loaded as llava_next"),
        ("weights a folder", folder(WEIGHTS), r"model has no \*\.safetensors"),
        (
            "weights of text",
            content(WEIGHTS, "version https://git-lfs"),
            r"cannot be loaded as llava",
        ),
        ("weights of 0xff", content(WEIGHTS, b"\xff" * 64), r"cannot be loaded .*SafetensorError"),
        (
            "weights header",
            content(WEIGHTS, raw_safetensors(b"{nonsense}")),
            r"cannot be loaded as llava_next\. SafetensorError",
        ),
        (
            "weights dtype",
            content(WEIGHTS, raw_safetensors(F99)),
            r"cannot be loaded as llava_next\. SafetensorError",
        ),
        (
            "weights offsets",
            content(WEIGHTS, raw_safetensors(BEYOND)),
            r"cannot be loaded as llava_next\. SafetensorError",
        ),
        (
            "weights transposed",
            tensors(transposed),
            r"do not fit config\.json: .*down_proj.* is \[96, 48\]",
        ),
        (
            "weights lack one",
            tensors(lambda weights: weights.popitem()),
            r"model lacks 1 tensors? of its architecture: .*Download the checkpoint again",
        ),
        ("weights renamed", tensors(renamed), r"model lacks \d+ tensors of its architecture"),
        (
            "shard missing",
            shards(a="model.safetensors", b="model-2.safetensors"),
            r"model lacks 1 of 2 weight files: model-2\.safetensors.*Download it again",
        ),
        (
            "shard outside",
            shard_outside,
            r"index\.json: '\.\./outside\.safetensors' is not the name",
        ),
        ("shard a number", shards(a=1), r"index\.json: 1 is not the name of a file in its folder"),
        ("index cut", content(INDEX, '{"weight_map": {'), r"index\.json cannot be read"),
        ("index empty", content(INDEX, "{}"), r"index\.json has no usable weight_map"),
        (
            "adapter",
            content("model/adapter_config.json", '{"base_model_name_or_path": "/etc"}'),
            r"model holds a LoRA adapter.*--model BASE --adapter",
        ),
        ("tokenizer missing", without(TOKENIZER), r"cannot be loaded as llava_next"),
        ("tokenizer cut", cut(TOKENIZER), r"cannot be loaded as llava_next"),
        ("tokenizer a list", content(TOKENIZER, "[]"), r"cannot be loaded as llava_next"),
        (
            "tokenizer config",
            cut("model/tokenizer_config.json"),
            r"tokenizer_config\.json cannot be read",
        ),
        ("processor missing", without(PROCESSOR), r"has no image processor|cannot be loaded"),
        ("processor cut", cut(PROCESSOR), r"processor_config\.json cannot be read"),
        ("processor a list", content(PROCESSOR, "[]"), r"cannot be loaded as llava_next"),
        (
            "processor unknown",
            fields(PROCESSOR, image_processor__image_processor_type="Nonsense"),
            r"cannot be loaded as llava_next",
        ),
        ("template missing", no_template, r"has no chat template.*--chat-template FILE"),
        ("template syntax", template("{% for %}"), r"chat template.*TemplateSyntaxError"),
        ("template undefined", template("{{ a.b.c }}"), r"chat template.*UndefinedError"),
        ("template refuses", template("{{ raise_exception('no!') }}"), r"chat template.*no!"),
        ("template escapes", template("{{ ''.__class__.mro() }}"), r"chat template.*SecurityError"),
        (
            "template endless",
            template("{% for i in range(10**9) %}x{% endfor %}"),
            r"chat template.*[Rr]ange too big",
        ),
        ("template divides", template("{{ 1 // 0 }}"), r"chat template.*ZeroDivisionError"),
    ),
    Case(
        "weights of another kind",
        nothing,
        f"eval --model kosmos-2 --weights {{model}} {ON} {LIMITS}",
        3,
        r"KOSMOS-2|llava_next",
    ),
    Case(
        "weights of another family",
        nothing,
        f"eval --model phi-3.5 --weights {{model}} {ON} {LIMITS}",
        3,
        r"llava_next checkpoint; Phi-3\.5.* needs phi3_v",
    ),
    Case(
        "weights not downloaded",
        nothing,
        f"eval --model phi-3.5 {ON} {LIMITS}",
        3,
        r"microsoft/Phi-3\.5-vision-instruct.*hf download",
    ),
    Case(
        "model folder not there",
        nothing,
        f"eval --model {{root}}/none {ON} {LIMITS}",
        3,
        r"No model called '.*/none'",
    ),
    Case(
        "model a file",
        nothing,
        f"eval --model {{answers}} {ON} {LIMITS}",
        3,
        r"answers\.jsonl is a file; a checkpoint is a folder",
    ),
    *cases(  # Run folders.
        EVAL,
        3,
        ("run.json cut", cut(RECORD), r"run\.json is not JSON.*--fresh"),
        (
            "run.json of others",
            content(RECORD, '{"a": 1}'),
            r"run\.json is not a run record.*--fresh",
        ),
        ("run.json newer", fields(RECORD, format=99), r"newer harness \(format 99\)\. Update"),
        ("run.json format", fields(RECORD, format="1"), r"run\.json is not a run record.*--fresh"),
        (
            "run.json format NaN",
            fields(RECORD, format=float("nan")),
            r"run\.json is not JSON: NaN.*--fresh",
        ),
        ("run.json sessions", fields(RECORD, sessions=1), r"not a run record.*sessions.*--fresh"),
        ("run.json fingerprint", fields(RECORD, fingerprint=[]), r"not a run record.*fingerprint"),
        (
            "run.json a folder",
            folder(RECORD),
            r"run\.json cannot be read: it is not a regular file",
        ),
        (
            "predictions broken",
            line(PREDICTIONS, "{broken"),
            r"predictions\.jsonl, line 2 is not a prediction.*--fresh",
        ),
        ("predictions NUL", line(PREDICTIONS, bytes(9)), r"jsonl, line 2 is not a prediction"),
        ("predictions Latin-1", line(PREDICTIONS, LATIN), r"jsonl, line 2 is not a prediction"),
        ("predictions nested", line(PREDICTIONS, NESTED), r"jsonl, line 2 is not a prediction"),
        ("predictions a number", line(PREDICTIONS, "3"), r"jsonl, line 2 is not a prediction"),
        (
            "predictions lack raw",
            fields(PREDICTIONS, raw=...),
            r"jsonl, line 1 is not a prediction.*raw",
        ),
        (
            "predictions raw null",
            fields(PREDICTIONS, raw=None),
            r"jsonl, line 1 is not a prediction.*raw",
        ),
        (
            "predictions choices",
            fields(PREDICTIONS, choices=[1, 2]),
            r"jsonl, line 1 is not a prediction.*choices",
        ),
        (
            "predictions unknown id",
            fields(PREDICTIONS, sample_id="who"),
            r"predictions\.jsonl.*'who'.*--fresh",
        ),
        (
            "predictions id twice",
            fields(PREDICTIONS, sample_id="geography-01"),
            r"predictions\.jsonl, line 2.*'geography-01'.*twice.*--fresh",
        ),
        (
            "predictions a folder",
            folder(PREDICTIONS),
            r"jsonl cannot be read: it is not a regular file",
        ),
    ),
    *cases(
        EVAL,
        2,
        ("run locked", lock, r"Another process is writing to .*--runs"),
        ("run without run.json", without(RECORD), r"has predictions but no run\.json.*--fresh"),
        ("other weights", other_weights, r"differ from those of the run in .*: weights\..*--fresh"),
        ("other data", row(topic="x"), r"differ from .*: data\..*sha256.* there, .*--fresh"),
        ("run a file", both(lambda p: shutil.rmtree(p.root / RUN), content(RUN, "")), r"--runs"),
    ),
    Case(
        "other style",
        nothing,
        f"{EVAL} --style cot --dtype bf16",
        2,
        r": style, prompt, wording, dtype\. style: direct there, cot now.*To resume: harness eval",
    ),
    Case(
        "other limit of tokens",
        nothing,
        f"{EVAL} --max-new-tokens 3",
        2,
        r": decoding\.max_new_tokens\. .*: 2 there, 3 now.*--max-new-tokens 3 --fresh",
    ),
    *cases(
        SHOW,
        3,
        ("record of 0 bytes", content(RECORD, ""), r"run\.json is not JSON"),
        ("record nested", content(RECORD, NESTED), r"run\.json is not JSON"),
        ("record a list", content(RECORD, "[]"), r"run\.json is not a run record"),
        ("record in Latin-1", content(RECORD, LATIN), r"run\.json is not UTF-8"),
        (
            "record missing",
            without(RECORD),
            r"is not a run folder: it has no run\.json\. harness list",
        ),
    ),
    *cases(
        SHOW_TABLE,
        3,
        ("record title a number", fields(RECORD, model__title=7), r"not a run record.*title"),
        ("record counts a text", fields(RECORD, counts__total="many"), r"not a run record.*total"),
        ("record counts a boolean", fields(RECORD, counts__done=True), r"not a run record.*done"),
        (
            "record metric a text",
            fields(RECORD, metrics__accuracy__value="high"),
            r"not a run record.*value",
        ),
        ("record metrics a list", fields(RECORD, metrics=[]), r"not a run record"),
        (
            "record timing",
            fields(RECORD, timing={"seconds_per_sample": 3}),
            r"not a run record: field 'timing\.seconds_per_sample' cannot be 3",
        ),
        ("record model", fields(RECORD, settings__model="x"), r"field 'settings\.model' cannot"),
        (
            "record session",
            fields(RECORD, sessions=[{"energy_joules": "x"}]),
            r"field 'sessions\.energy_joules' cannot be 'x'",
        ),
    ),
    *cases(
        REPORT,
        3,
        ("report of a cut record", cut(RECORD), r"run\.json is not JSON"),
        ("report of another record", fields(RECORD, task=None), r"run\.json is not a run record"),
    ),
    *[  # Exports.
        Case(f"export {options}", build, f"{EXPORT} {options}", code, message)
        for options, build, code, message in (
            ("", nothing, 2, r"Missing option '--format'"),
            ("--format docx", nothing, 2, r"--format.*'docx' is not one of csv, markdown"),
            ("--format csv --task nope", nothing, 2, r"--task nope: .* tables of scienceqa"),
            ("--format csv --out {data}", nothing, 2, r"data cannot be written: it is no file"),
            (
                "--format csv --out {answers}/x.csv",
                nothing,
                2,
                r"x\.csv cannot be written: (Not a directory|File exists)",
            ),
            ("--format csv --json", nothing, 2, r"--json .* needs --out"),
            ("--format csv --dataset a/b", nothing, 2, r"--dataset does not apply to --format csv"),
            ("--format json", cut(RECORD), 3, r"run\.json is not JSON"),
            ("--format lm-eval", nothing, 2, r"--format lm-eval writes a folder.*--out"),
            ("--format lm-eval --out {answers}", nothing, 2, r"answers\.jsonl .* it is no folder"),
            ("--format lm-eval --task nope --out {root}/x", nothing, 3, r"no run of nope in"),
            ("--format lm-eval --out {root}/x --json", cut(RECORD), 3, r"run\.json is not JSON"),
            (
                "--format lm-eval --out {root}/x --json",
                content(PREDICTIONS, "[]\n"),
                3,
                r"predictions\.jsonl, line 1 is not a prediction",
            ),
            (
                "--format hf --out {root}/x",
                nothing,
                2,
                r"questions are from .*data, .*--dataset ORG",
            ),
            (
                "--format hf --out {root}/x --dataset ../y",
                nothing,
                2,
                r"--dataset \.\./y: not the name",
            ),
            (
                "--format hf --out {root} --dataset a/b",
                content("model/README.md", "mine"),
                2,
                r"model/README\.md is there already.*Nothing was written",
            ),
        )
    ],
    *cases(  # Answers made elsewhere.
        SCORE,
        3,
        ("answers missing", without(ANSWERS), r"answers\.jsonl cannot be read: No such file"),
        (
            "answers a folder",
            folder(ANSWERS),
            r"answers\.jsonl holds no file of answers\. It takes files that end in \.jsonl",
        ),
        ("answers of 0 bytes", content(ANSWERS, ""), r"answers\.jsonl holds no rows"),
        (
            "answers an array",
            content(ANSWERS, "[]"),
            r"jsonl, line 1: must be an object, found \[\]",
        ),
        ("answers of text", content(ANSWERS, "B\n"), r"answers\.jsonl, line 1: not valid JSON"),
        ("answers in UTF-16", utf16(ANSWERS), r"answers\.jsonl, line 1: not UTF-8.*Convert"),
        (
            "answers without id",
            answer(id=...),
            r"jsonl, line 1, field 'id': missing; it must be text",
        ),
        ("answers id blank", answer(id=""), r"line 1, field 'id': must be text, found ''"),
        ("answers id twice", answer(id="2"), r"line 2, field 'id': '2' .* twice.*jsonl, line 1"),
        ("answers without raw", answer(raw=...), r"line 1, field 'raw': missing; it must be text"),
        ("answers raw null", answer(raw=None), r"line 1, field 'raw': must be text, found None"),
        ("answers raw a number", answer(raw=3), r"line 1, field 'raw': must be text, found 3"),
        (
            "answers without choices",
            answer(choices=...),
            r"field 'choices': missing; it must be a list",
        ),
        ("answers choices a text", answer(choices="AB"), r"'choices': must be a list of 2 to 26"),
        ("answers target beyond", answer(target=2), r"'target': must be .*0 to 1.*found 2 \(int\)"),
        (
            "answers target a text",
            answer(target="x"),
            r"'target': must be .*0 to 1.*found 'x' \(str\)",
        ),
        (
            "answers target a boolean",
            answer(target=True),
            r"'target': must be .*0 to 1.*found True",
        ),
        ("answers topic a number", answer(topic=1), r"field 'topic': must be text, found 1"),
        ("answers image outside", answer(image="../a.png"), r"'image': .*leads out"),
    ),
    Case(
        "answers of another task",
        nothing,
        SCORE_OPEN,
        3,
        r"line 1, field 'target': must be text, as .* found 1 \(int\)",
    ),
    Case(
        "answers over a run",
        nothing,
        f"{SCORE} --model model",
        2,
        r"The run in .* was made of other answers than those of .*--fresh",
    ),
    # Extraction again.
    Case(
        "reader unknown",
        nothing,
        f"{RESCORE} --reader guess",
        2,
        r"No extractor called 'guess'\. There are ours, paper-base",
    ),
    *cases(
        RESCORE,
        3,
        (
            "rescore a broken line",
            line(PREDICTIONS, "{"),
            r"predictions\.jsonl, line 2 is not a prediction",
        ),
        ("rescore no answers", without(PREDICTIONS), r"predictions\.jsonl holds no answers"),
        (
            "rescore an order",
            fields(PREDICTIONS, order=[7]),
            r"line 1 is not a prediction.*no order",
        ),
        ("rescore a target", fields(PREDICTIONS, target=7), r"7 is none of its 4 choices"),
        ("rescore no choices", fields(PREDICTIONS, choices=[]), r"is none of its 0 choices"),
        ("rescore no run", without(RECORD), r"is not a run folder: it has no run\.json"),
    ),
    *cases(
        RESCORE,
        2,
        ("rescore another task", fields(RECORD, task__name="mine"), r"no task 'mine'"),
        ("rescore a locked run", lock, r"Another process is writing to"),
    ),
    *cases(  # Comparing.
        COMPARE,
        3,
        ("compare no run", nothing, r"other/test is not a run folder: it has no run\.json"),
        (
            "compare no answers",
            both(other_run, without(f"{OTHER}/predictions.jsonl")),
            r"other/test/predictions\.jsonl holds no answers",
        ),
        ("compare nothing shared", nothing_shared, r"no question in common that both answered"),
        ("compare other questions", nothing_equal, r"of the same id, and none that is the same"),
        (
            "compare a broken line",
            both(other_run, line(f"{OTHER}/predictions.jsonl", "{")),
            r"other/test/predictions\.jsonl, line 2 is not a prediction",
        ),
    ),
    *cases(
        COMPARE,
        2,
        (
            "compare another task",
            both(other_run, fields(f"{OTHER}/run.json", task__name="x", task__title="X")),
            r"ScienceQA and X cannot be compared: two runs of one task",
        ),
    ),
    Case(
        "report of no folder",
        nothing,
        "report --runs {root}/none --json",
        3,
        r"none is not a folder",
    ),
    Case(
        "report into a folder",
        nothing,
        "report --runs {runs} --out {data} --json",
        2,
        r"data cannot be written.*--out",
    ),
    Case(
        "report below a file",
        nothing,
        "report --runs {runs} --out {answers}/page.html --json",
        2,
        r"page\.html cannot be written.*--out",
    ),
    # Where nothing can be written.
    Case(
        "runs below a file",
        nothing,
        f"eval --model {{model}} {ON} --runs {{answers}}/runs --limit 2 --json",
        2,
        r"answers\.jsonl/runs.* cannot be written.*--runs",
    ),
    Case(
        "runs on a read-only disk",
        nothing,
        f"eval --model {{model}} {ON} --runs /proc/runs --limit 2 --json",
        2,
        r"/proc/runs.* cannot be written.*--runs",
    ),
    *cases(
        EVAL.replace("--limit 2", "--limit 4"),
        1,
        ("disk full for run.json", full_disk(2000), r"too large: .*run\.json.* is kept"),
        ("disk full for answers", full_for_answers, r"too large: .*predictions\.jsonl.* is kept"),
    ),
    Case("disk full for scores", full_disk(400), SCORE, 1, r"too large: .*predictions\.jsonl"),
    Case(
        "disk full for the page",
        full_disk(1000),
        REPORT,
        2,
        r"page\.html cannot be written: File too large",
    ),
    *[  # Options.
        Case(f"option {options}", nothing, f"{ANEW} {options}", 2, message)
        for options, message in (
            ("--limit 0", r"'--limit': '0' is not at least 1"),
            ("--limit many", r"'--limit': 'many' is not a whole number"),
            ("--batch-size 0", r"'--batch-size': 0 is less than 1; write 1 or more, or auto"),
            ("--max-new-tokens -1", r"'--max-new-tokens': '-1' is not at least 1"),
            ("--shots -1", r"'--shots': '-1' is not at least 0"),
            ("--temperature -1", r"'--temperature': '-1' is not at least 0"),
            ("--temperature nan", r"'--temperature': 'nan' is not at least 0"),
            ("--temperature inf", r"--temperature.*inf is not a finite number"),
            ("--top-p 0", r"'--top-p': '0' is not at least 0\.0001"),
            ("--top-p nan", r"'--top-p': 'nan' is not at most 1"),
            ("--style poem", r"--style.*'poem' is not one of plain, direct, structured, cot"),
            ("--mode guess", r"--mode.*'guess' is not one of"),
            ("--sample last", r"--sample.*'last' is not one of first, stratified"),
            ("--text-only maybe", r"--text-only.*'maybe' is not one of skip, include"),
            ("--quantize int3", r"--quantize.*'int3' is not one of nf4"),
            ("--dtype float8", r"--dtype float8: choose auto, float32, bfloat16, float16"),
            ("--device quantum", r"--device quantum: .*Choose auto, cpu, cuda or cuda:N"),
            ("--device cuda:99", r"--device cuda:99: .*Choose auto, cpu, cuda or cuda:N"),
            ("--attn nonsense", r"--attn nonsense: there is no such kernel.*sdpa"),
            ("--attn some-org/kernel", r"--attn some-org/kernel: there is no such kernel"),
            ("--processor-arg num_crops", r"--processor-arg num_crops: write KEY=VALUE"),
            ("--processor-arg =4", r"--processor-arg =4: write KEY=VALUE"),
            ("--processor-arg no_such=4", r"--processor-arg no_such: .* has no such setting"),
            ("--name ../../outside", r"--name.*'\.\./\.\./outside' is a path"),
            ("--name /tmp/outside", r"--name.*'/tmp/outside' is a path"),
            ("--name ''", r"--name.*'' is a path, or nothing"),
            ("--no-such-option", r"No such option: --no-such-option"),
            ("--model phi-3.5 --weights {model}", r"--weights goes with one --model"),
            ("--model phi-3.5 --name x", r"--name goes with one --model"),
            ("--model phi-3.5 --adapter {model}", r"--adapter goes with one --model"),
            ("--task vqaonline", r"--data .*: with several tasks, say whose it is"),
        )
    ],
    Case(
        "style without room",
        nothing,
        f"eval --model {{model}} {ON} --runs {{runs}} --mode loglikelihood --style cot",
        2,
        r"no room for the style cot.*--style direct",
    ),
    Case(
        "device not there",
        without_gpu,
        f"{ANEW} --device cuda",
        2,
        r"--device cuda: .*Choose auto, cpu",
    ),
    Case(
        "quantized on a CPU",
        nothing,
        f"{ANEW} --quantize nf4 --device cpu",
        3,
        r"--quantize nf4 needs bitsandbytes and a CUDA device",
    ),
    Case(
        "adapter no adapter",
        nothing,
        f"{ANEW} --adapter {{data}}",
        3,
        r"data has no adapter_config\.json: it is not a LoRA adapter",
    ),
    *cases(
        f"{ANEW} --adapter {{root}}/lora",
        3,
        ("adapter of nothing", lora({}), r"lora cannot be used as a LoRA adapter.*peft_type"),
        ("adapter a list", lora([]), r"lora cannot be used as a LoRA adapter.*peft_type"),
        ("adapter garbage", lora(LORA, "hello"), r"lora cannot be used as .*SafetensorError"),
        (
            "adapter of another model",
            lora(LORA | {"target_modules": ["nothing"]}),
            r"lora cannot be used as a LoRA adapter.*nothing.* not found",
        ),
        ("adapter empty", lora(LORA), r"lora lacks \d+ tensors of its adapter: .*lora_A"),
    ),
    Case(
        "revision of a folder",
        nothing,
        f"{ANEW} --revision abc",
        2,
        r"--revision applies only to the Hub data set; remove it or --data",
    ),
    Case(
        "revision of weights",
        nothing,
        f"{ANEW} --model-revision abc",
        2,
        r"--model-revision abc: a folder has no revisions",
    ),
    Case(
        "shots without a train split",
        nothing,
        f"{ANEW} --shots 2",
        3,
        r"data has no split 'train'\. It has test\.",
    ),
    Case("model empty", nothing, f"eval --model '' {ON} {LIMITS}", 2, r"No model called ''"),
    Case(
        "model not on this machine",
        nothing,
        f"eval --model org/none {ON} {LIMITS}",
        3,
        r"org/none are not here.*hf download org/none",
    ),
    Case(
        "list of no folder",
        nothing,
        "list runs --runs {root}/none --json",
        3,
        r"none is not a folder",
    ),
    Case(
        "list of a cut record",
        cut(RECORD),
        "list runs --runs {runs} --json",
        3,
        r"run\.json is not JSON",
    ),
    *cases(
        "check {model} --runs {runs} --json",
        3,
        ("check of a cut config", cut(CONFIG), r"config\.json cannot be read"),
        ("check of a template", template("{% for %}"), r"chat template of .*TemplateSyntaxError"),
    ),
    Case(
        "ask of no picture",
        nothing,
        "ask --model {model} --question what --image {root}/none.png --json",
        3,
        r"none\.png: the file is missing",
    ),
    Case(
        "ask of no image",
        nothing,
        "ask --model {model} --question what --image {answers} --json",
        3,
        r"answers\.jsonl: not a picture in one of the formats",
    ),
    Case(
        "ask nothing",
        nothing,
        "ask --model {model} --question ' ' --json",
        2,
        r"--question is empty",
    ),
    Case("no model", nothing, f"eval {ON} {LIMITS}", 2, r"Missing option '--model'"),
    Case(
        "task unknown",
        nothing,
        f"eval --model {{model}} --task sciencqa --data {{data}} {LIMITS}",
        2,
        r"no task 'sciencqa'\. The tasks are .*Did you mean scienceqa",
    ),
    Case(
        "model unknown",
        nothing,
        f"eval --model nonsense {ON} {LIMITS}",
        2,
        r"No model called 'nonsense'.*harness list models",
    ),
    Case("no such command", nothing, "evaluate {model}", 2, r"No such command 'evaluate'"),
    *cases(  # A task of the user's own.
        OWN,
        2,
        ("task file missing", nothing, r"There is no task file .*mine\.py.*--task \./mine\.py"),
        ("task syntax", content(MINE, "x = 1\ndef f(:"), r"mine\.py, line 2: SyntaxError"),
        ("task in Latin-1", content(MINE, b"x = '\xe9'"), r"mine\.py, line 1: SyntaxError"),
        ("task raises", content(MINE, "\n1 / 0"), r"mine\.py, line 2: ZeroDivisionError: div"),
        ("task exits", content(MINE, "raise SystemExit(0)"), r"mine\.py, line 1: SystemExit"),
        ("task missing", content(MINE, "x = 1"), r"mine\.py defines no TASK.*Define TASK ="),
        ("task a text", content(MINE, "TASK = 'x'"), r"mine\.py has a str as its TASK"),
        ("task limit", own_task(max_new_tokens="0"), r"mine\.py: TASK has 0 as its max_new_tokens"),
        (
            "task metric",
            own_task(metrics="SCIENCEQA.metrics[0]"),
            r"TASK has Metric.* as its metrics",
        ),
        ("task load raises", own_task(RAISES, load="f"), r"mine\.py, line 4: ZeroDivisionError"),
        (
            "task prompt raises",
            own_task(RAISES, prompt="f"),
            r"mine\.py, line 4: ZeroDivisionError",
        ),
        ("task prompt a text", own_task(prompt="lambda *_: 'x'"), r"returned 'x', not a Prompt"),
        (
            "task extract raises",
            own_task(RAISES, extract="f"),
            r"mine\.py, line 4: ZeroDivisionError",
        ),
        (
            "task extract a text",
            own_task(extract="lambda *_: 'B'"),
            r"returned 'B', not an Extraction",
        ),
        (
            "task metric raises",
            own_task(RAISES, metrics="(f,)"),
            r"mine\.py, line 4: ZeroDivisionError",
        ),
        (
            "task metric a float",
            own_task(metrics="(lambda _: {'x': 0.5},)"),
            r"returned {'x': 0\.5}, not a Mapping of names to Values.*What was answered is kept",
        ),
    ),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, tiny, drawn: Path) -> Path:
    """A folder in which all is well, but for a run that is yet to be made."""
    root = tmp_path_factory.mktemp("sound")
    shutil.copytree(tiny("llava-next"), root / "model")
    rows = (drawn / "test.jsonl").read_text().splitlines(keepends=True)[:4]
    (root / "data" / "images").mkdir(parents=True)
    (root / ROWS).write_text("".join(rows))
    for text in rows:
        name = json.loads(text)["image"]
        shutil.copy(drawn / name, root / "data" / name)
    made = [
        {"id": str(n), "raw": "B", "choices": ["no", "yes"], "target": 1, "topic": "t"}
        for n in (1, 2)
    ]
    (root / ANSWERS).write_text("".join(json.dumps(each) + "\n" for each in made))
    return root


@pytest.fixture
def place(sound: Path, tmp_path: Path, command) -> Iterator[Place]:
    """A copy of `sound` with its run, for one case."""
    if not (sound / RUN).exists():
        done = command(*arguments(EVAL, sound))
        assert done.code == 0, done.stderr
    root = tmp_path / "place"
    shutil.copytree(sound, root)
    with ExitStack() as undo:
        yield Place(root, undo)


def arguments(template: str, root: Path) -> list[str]:
    return shlex.split(template.format(**{name: root / path for name, path in PATHS.items()}))


def computed(root: Path) -> dict[Path, bytes]:
    """What the run folders hold of answers."""
    return {p: p.read_bytes() for p in root.glob("runs/**/predictions.jsonl") if p.is_file()}


@contextmanager
def patience() -> Iterator[None]:
    """What hangs fails, instead of holding up all tests."""

    def ring(*_: object) -> None:
        pytest.fail(f"still running after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_bad_is_told(case: Case, place: Place, command) -> None:
    """The message, the exit code, no traceback, nothing but JSON on stdout, no answer lost."""
    case.build(place)
    before = computed(place.root)
    with place.undo, patience():
        result = command(*arguments(case.arguments, place.root))
    assert result.code == case.code, result.stderr
    told = " ".join(re.sub("[│╭╮╰╯─]", " ", result.stderr).split())
    assert re.search(case.message, told), told
    assert "Traceback" not in result.stderr
    if result.stdout:
        json.loads(result.stdout)
    after = computed(place.root)
    assert all(after[path].startswith(lines) for path, lines in before.items())
