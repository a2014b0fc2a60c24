"""Where a model's weights are, and what is in them, without loading them.

A checkpoint is always a folder here: the user's own, or a snapshot in the hub's cache. Its
fingerprint is made of its files' contents, so that other weights under the same path are noticed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from harness.checkpoints import hub, minis
from harness.checkpoints.catalog import CATALOG, ModelSpec, find, find_type, pinned
from harness.checkpoints.minis import MARK
from harness.checkpoints.pickled import without_safetensors
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.files.regular import MAX_RECORD, read_regular

SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""The files that decide what a model answers; nothing else of a repository is fetched or read."""

Random = Literal["random"]
VisionState = Literal["before", "after"]
VISION_STATE = "intermediate_layers_state"
"""Key of Mllama's `vision_config` in config.json: whether a picture's features are the hidden
states before or after the layers in `intermediate_layers_indices`. See harness.models.mllama."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights that were found."""

    name: str
    """What the run is called."""
    folder: Path
    spec: ModelSpec | None
    """The catalogue's row: by name, or the first of the same model_type (for its template and
    adapter); None for other architectures."""
    named: bool
    """Whether the user asked for `spec` by name: then the row's title and size are its own."""
    config: Mapping[str, Any]
    repo: str | None = None
    revision: str | None = None
    lora: Path | None = None
    """A folder with a LoRA adapter, to be merged into the weights."""
    random: bool = False
    """The weights are random: what is answered means nothing."""

    @property
    def mini(self) -> bool:
        """Whether it is one of the package's own miniatures, or was made from one."""
        return (self.folder / MARK).is_file()

    @property
    def title(self) -> str:
        """What tables print: the row's title where it runs under its own name."""
        spec = self.spec if self.named else None
        if spec and self.name == spec.name:
            return spec.title
        return f"{spec.title}-mini" if spec and self.name == f"{spec.name}-mini" else self.name

    @property
    def size(self) -> str:
        """As people write it: the row's, "2B", but a mini's own, "1.3M"."""
        if self.mini:
            return f"{read_json(self.folder / MARK)['parameters'] / 1e6:.1f}M"
        return self.spec.size if self.spec and self.named else ""

    @property
    def licence(self) -> str:
        """The row's; a mini is the package's own."""
        if self.mini:
            return minis.LICENCE
        return self.spec.licence if self.spec and self.named else ""

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def vision_state(self) -> VisionState | None:
        """Which state of Mllama's vision layers the weights were trained with; None: no Mllama.

        Published checkpoints do not say it, and were trained with the state before each layer. The
        minis that come with the package do not say it either, and were trained with the one after.
        """
        if self.model_type != "mllama":
            return None
        vision = self.config.get("vision_config")
        stated = vision.get(VISION_STATE) if isinstance(vision, dict) else None
        if stated is None:
            return "after" if self.mini else "before"
        if stated not in {"before", "after"}:
            raise HarnessError(
                f"{self.folder / 'config.json'}: vision_config.{VISION_STATE} is {stated!r}.",
                remedy="Write 'before' or 'after', or leave the key out.",
                code=Exit.MISSING,
            )
        return cast("VisionState", stated)

    @property
    def adapter(self) -> str:
        return self.spec.adapter if self.spec else "chat"

    @property
    def weights(self) -> str:
        """Where the weights come from, in words."""
        if self.random:
            words = "random weights"
        elif self.mini and self.folder.parent == minis.FOLDER:
            words = "the mini that comes with the package"
        elif self.repo is None:
            words = f"folder {self.folder.name}"
        else:
            words = self.repo + (f" @ {self.revision}" if self.revision else "")
        return words + (f" with LoRA {self.lora.name}" if self.lora else "")


def find_checkpoint(
    model: str,
    *,
    weights: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    lora: Path | None = None,
    size: str = "full",
    runs: Path | None = None,
) -> Checkpoint:
    """The checkpoint that `--model` and `--weights` mean.

    Args:
        model: a row of the catalogue, a folder, or ORG/REPO on the hub.
        weights: a folder, or ORG/REPO, in place of the row's own repository; or "random", for
            weights that are made here.
        size: "mini" is the one that comes with the package; of random weights "full", the published
            architecture, "mini" or "tiny".
        runs: where to look for a finished distillation, for a row that is not published.
        lora: a folder with a LoRA adapter.
        revision: branch, tag or commit of the hub repository.
        name: what the run is called; by default the row's, the folder's or the repository's name.

    Raises:
        HarnessError: nothing is there (exit 3), or `model` names nothing (exit 2).
    """
    spec = find(model)
    random = weights == "random"
    shipped = size == "mini" and not weights
    if random:
        weights = str(_random_weights(spec, model, size))
    elif shipped:
        if revision:
            raise HarnessError(f"--model-revision {revision}: a mini has no revisions.")
        weights = str(minis.find(spec.name if spec else model))
    source = weights or (spec.repo if spec else model)
    if source is None and runs is not None:
        source = _newest_student(runs)
    if source is None:
        raise HarnessError(
            f"{spec.title if spec else model} has no published weights.",
            known="It is what `harness distill` makes, and there is no finished distillation"
            + (f" under {runs / 'distill'}." if runs else "."),
            remedy=f"harness distill, or harness eval --model {model} --weights FOLDER. "
            f"{_mini_command(spec)}",
            code=Exit.MISSING,
        )
    folder, repo = _locate(source, spec, revision)
    default_name = spec.name if spec else (repo.name if repo else folder.name).replace("/", "--")
    if shipped:
        default_name += "-mini"
    config = _read_config(folder, repo)
    named = spec is not None
    model_type = str(config.get("model_type", ""))
    if spec is None:
        spec = find_type(model_type)
    elif model_type != spec.model_type:
        raise HarnessError(
            f"{folder.name} holds a {model_type or 'nameless'} checkpoint; {spec.title} needs "
            f"{spec.model_type}.",
            remedy=f"harness eval --model {source}",
            code=Exit.MISSING,
        )
    return Checkpoint(
        name=name or default_name,
        folder=folder,
        spec=spec,
        named=named,
        config=config,
        repo=repo.name if repo else None,
        revision=folder.name if repo else None,  # the commit
        lora=_lora_folder(lora) if lora else None,
        random=random,
    )


def _locate(
    source: str, spec: ModelSpec | None, revision: str | None
) -> tuple[Path, hub.Repository | None]:
    """The folder that `source` means, and the hub's repository that it is a snapshot of."""
    path = user_path(source)
    if source and path.is_dir():
        if revision:
            raise HarnessError(f"--model-revision {revision}: a folder has no revisions.")
        return path.resolve(), None
    if source and path.exists():
        raise HarnessError(
            f"{source} is a file; a checkpoint is a folder with config.json and *.safetensors.",
            code=Exit.MISSING,
        )
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source):
        repo = hub.Repository(source, revision or pinned(source))
        patterns = [f"*{suffix}" for suffix in SUFFIXES]
        return hub.snapshot(repo, patterns, otherwise=_mini_command(spec)), repo
    rows = ", ".join(row.name for row in CATALOG)
    raise HarnessError(
        f"No model called {source!r}.",
        known=f"It is no folder here, no ORG/REPO, and no row of the catalogue ({rows}).",
        remedy="harness list models",
        code=Exit.MISSING if path.is_absolute() or os.sep in source else Exit.USAGE,
    )


def _newest_student(runs: Path) -> str | None:
    """The folder of the student that was last finished under `runs`; None where there is none.

    A control, which learned answers without rationales, is no Moondream-kd.
    """
    finished: list[tuple[str, int, str]] = []
    for path in (runs / "distill").glob("*/distill.json"):
        try:
            state = json.loads(read_regular(path, limit=MAX_RECORD, within=path.parent))
            if state["status"] == "complete" and state["config"]["target"] == "structured":
                # Seconds are written down; of two in one, the file that was written last.
                when = str(state["finished"]), path.stat().st_mtime_ns
                finished.append((*when, str(path.parent / state["student"])))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise HarnessError(f"{path} cannot be read: {error}.", code=Exit.MISSING) from error
    return max(finished)[-1] if finished else None


def _random_weights(spec: ModelSpec | None, model: str, size: str) -> Path:
    """A folder with random weights for a row of the catalogue; made once, then kept."""
    if spec is None:
        raise HarnessError(
            f"--weights random needs a row of the catalogue, not {model}.",
            remedy="harness list models",
        )
    # Imported here: building needs torch.
    from harness.models.tiny import build

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # A distilled model has the architecture of its student.
    kin = find_type(spec.model_type) or spec
    folder = cache / "harness" / "random" / f"{kin.name}-{size}"
    if not (folder / "config.json").exists():
        build(kin.name, folder, size=size)
    return folder


def _lora_folder(folder: Path) -> Path:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise HarnessError(
                f"{folder} has no {name}: it is not a LoRA adapter.",
                known="Pickled adapters (adapter_model.bin) are never loaded.",
                code=Exit.MISSING,
            )
    return folder.resolve()


def _mini_command(spec: ModelSpec | None) -> str:
    """What can be run at once where weights are missing; "" where there is no such model."""
    if spec is None or spec.name not in minis.names():
        return ""
    return (
        "To try the harness without them: "
        f"harness eval --model {spec.name} --size mini --task scienceqa-mini"
    )


def _read_config(folder: Path, repo: hub.Repository | None) -> Mapping[str, Any]:
    path = folder / "config.json"
    if (folder / "adapter_config.json").exists():
        # The library would load another model, from wherever this file says.
        raise HarnessError(
            f"{folder} holds a LoRA adapter: it has an adapter_config.json.",
            remedy=f"harness eval --model BASE --adapter {folder}",
            code=Exit.MISSING,
        )
    if not path.is_file():
        raise HarnessError(
            f"{folder} has no config.json: it is not a checkpoint.", code=Exit.MISSING
        )
    config = read_json(path)
    if not isinstance(config, dict):
        raise HarnessError(f"{path} is not a JSON object.", code=Exit.MISSING)
    if not isinstance(config.get("model_type"), str):
        raise HarnessError(
            f"{path} has no model_type, which names the architecture.", code=Exit.MISSING
        )
    if not any(path.is_file() for path in folder.glob("*.safetensors")):
        raise without_safetensors(folder, config, repo)
    _check_shards(folder)
    return config


def read_json(path: Path) -> Any:
    """A JSON file of a checkpoint; raises HarnessError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read: {error}.", code=Exit.MISSING) from error


def _check_shards(folder: Path) -> None:
    """Refuse a checkpoint whose weights are only partly there."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            shards = set(read_json(index)["weight_map"].values())
        except (KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"{index} has no usable weight_map.", code=Exit.MISSING) from error
        for shard in shards:
            if not isinstance(shard, str) or shard != Path(shard).name:
                raise HarnessError(
                    f"{index}: {shard!r} is not the name of a file beside it.", code=Exit.MISSING
                )
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise HarnessError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files: {missing[0]} ...",
                remedy="Download it again: an interrupted download leaves such a folder.",
                code=Exit.MISSING,
            )


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the folder's *.safetensors; reads their headers only."""
    from safetensors import safe_open

    shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  # no mapping
                shapes[name] = tuple(file.get_slice(name).get_shape())
    return shapes


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of the files that decide what a model answers.

    Large files in the hub's cache are links to blobs named by their sha256: those are not read.
    """
    total = sha256()
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        total.update(os.fsencode(path.name) + f"\0{_content_hash(path)}\0".encode())
    return f"sha256:{total.hexdigest()}"


def _content_hash(path: Path) -> str:
    if path.is_symlink():
        target = path.resolve()
        if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
            return target.name
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
