"""The published revisions of moondream2, distinguished by their tensors."""

from __future__ import annotations

import re
from pathlib import Path

from harness.checkpoints.folder import tensor_shapes
from harness.core.errors import Exit, HarnessError

_PATCHES = re.compile(r"vision_encoder\..*patch_embed\.linear\.weight")  # (C, 3 p p)
_PROJECTOR = re.compile(r"vision_encoder\..*projection\..*fc1\.weight")  # (P, 2 C), before (P, C)
RUNS = "harness runs 2024-05-20 to 2024-08-26; use --model-revision 2024-07-23"


def refuse_other_revisions(folder: Path) -> None:
    """Refuse the layouts before and after the one that is implemented here.

    Up to 2024-05-08 the projector took the features of the whole image alone, and so half the
    width; from 2025-01-09 on the tensors have other names, and the model is another one.

    Raises:
        HarnessError: it is one of those.
    """
    shapes = tensor_shapes(folder)
    projector, patches = (
        next((shapes[name] for name in shapes if tensor.fullmatch(name)), None)
        for tensor in (_PROJECTOR, _PATCHES)
    )
    if any(name.startswith("model.text.") for name in shapes):
        known = "It is a revision of 2025-01-09 or later: its tensors are named model.text.*"
    elif projector and patches and projector[1] == patches[0]:
        known = (
            f"It is a revision of 2024-05-08 or earlier: the projector's fc1 is {list(projector)}, "
            f"not {[projector[0], 2 * patches[0]]}"
        )
    else:
        return
    raise HarnessError(
        f"{folder} holds a revision of Moondream that harness does not run.",
        known=f"{known}.",
        remedy=RUNS,
        code=Exit.MISSING,
    )
