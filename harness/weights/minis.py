"""The minis that come with the package: where they are, and that they are what was shipped.

    weights/manifest.json    name -> file -> sha256
    weights/NAME/            a checkpoint in its published layout; README.md says how it was made

Readable without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from harness.checkpoints import catalog
from harness.core.errors import Exit, HarnessError
from harness.core.suggestions import did_you_mean

FOLDER = Path(__file__).parents[1] / "mini" / "weights"
MANIFEST = "manifest.json"
_AGAIN = "Install the package again; in a clone: git checkout -- harness/mini/weights"


def names(folder: Path = FOLDER) -> Sequence[str]:
    """The catalogue's names of the models that there is a mini of; none where the package came
    without them."""
    return tuple(_manifest(folder)) if (folder / MANIFEST).is_file() else ()


def find(name: str, folder: Path = FOLDER) -> Path:
    """The folder of the mini called `name`, every file of it checked.

    Raises:
        HarnessError: there is none of that name (exit 2), or a file is missing or is not what was
            shipped (exit 3).
    """
    there = names(folder)
    if name not in there:
        known = f"There are {', '.join(there)}." if there else "This package came without any."
        remedy = f"harness mini pretrain {name} --out FOLDER, then --weights FOLDER"
        raise HarnessError(
            f"There is no mini of {name}.{did_you_mean(name, there)}",
            known=known,
            remedy=remedy if catalog.find(name) else "harness list models",
        )
    files = _manifest(folder)[name]
    for file, digest in files.items():
        path = folder / name / file
        try:
            found = sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise HarnessError(
                f"{path} cannot be read: {error.strerror}.", remedy=_AGAIN, code=Exit.MISSING
            ) from error
        if found != digest:
            raise HarnessError(
                f"{path} is not the file that was shipped.",
                known=f"Its sha256 begins with {found[:12]}, not with {digest[:12]}.",
                remedy=_AGAIN,
                code=Exit.MISSING,
            )
    return folder / name


def write_manifest(folder: Path = FOLDER) -> None:
    """Take down the sha256 of every file of every mini in `folder`, their cards left out."""
    manifest = {
        checkpoint.name: {
            path.name: sha256(path.read_bytes()).hexdigest()
            for path in sorted(checkpoint.iterdir())
            if path.name != "README.md"
        }
        for checkpoint in sorted(folder.iterdir())
        if checkpoint.is_dir()
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _manifest(folder: Path) -> Mapping[str, Mapping[str, str]]:
    path = folder / MANIFEST
    try:
        manifest: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(files) for name, files in manifest.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise HarnessError(
            f"{path} cannot be read: {error}.", remedy=_AGAIN, code=Exit.MISSING
        ) from error
