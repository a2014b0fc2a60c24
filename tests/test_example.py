"""The rendered example: what the runs beside it give, byte for byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.checkpoints.catalog import CATALOG

EXAMPLE = Path(__file__).parents[1] / "docs" / "example"


def test_the_example_is_what_its_runs_give(command, tmp_path: Path) -> None:
    """A change of the page is a change of the example: the command in the message writes it anew."""
    copied = Path(shutil.copytree(EXAMPLE, tmp_path / "example"))
    page = copied / "leaderboard.html"
    page.unlink()
    done = command("report", "--runs", copied / "runs", "--out", page, "--images", "none")
    assert done.code == 0, done.stderr
    again = "harness report --runs docs/example/runs --out docs/example/leaderboard.html"
    same = page.read_bytes() == (EXAMPLE / "leaderboard.html").read_bytes()
    assert same, f"{again} --images none"


def test_the_example_has_every_row_and_no_picture_of_the_questions() -> None:
    """What `harness demo` measures: six minis on both tasks, the student and its control on choice
    questions; all marked, text only."""
    runs = {path.parent.relative_to(EXAMPLE) for path in EXAMPLE.glob("runs/*/*/*/run.json")}
    minis = {f"{spec.name}-mini" for spec in CATALOG if spec.role != "distilled"}
    students = {"moondream-kd", "moondream-kd-answer-only"}
    for task, names in (("scienceqa-mini", minis | students), ("vqaonline-mini", minis)):
        assert {path.parts[2] for path in runs if path.parts[1] == task} == names
    page = (EXAMPLE / "leaderboard.html").read_text(encoding="utf-8")
    assert "mini (synthetic)" in page
    assert "data:image/png;base64" not in page
    assert "data:image/jpeg;base64" not in page
    assert "data:image/webp;base64" not in page


def rows(table: str) -> dict[str, str]:
    """Of a table of the example's page: model -> the text of its row, tags left out."""
    page = (EXAMPLE / "leaderboard.html").read_text(encoding="utf-8")
    _, _, rest = page.partition(f'<table id="{table}">')
    found = {}
    for row in re.findall(r"<tr.*?</tr>", rest.partition("</table>")[0], flags=re.DOTALL):
        pieces = [piece.strip() for piece in re.split(r"<[^>]+>", row) if piece.strip()]
        roles = ("teacher", "baseline", "student", "distilled")
        if any(role in piece for role in roles for piece in pieces[1:2]):
            found[pieces[0]] = " ".join(pieces)
    return found


def test_both_tasks_have_all_measured_rows() -> None:
    """The control too where it was asked. The open questions have no row of Moondream-kd, in the paper
    neither: a line says that it is not measured."""
    titles = [spec.title for spec in CATALOG]
    of_options = {f"{title}-mini" for title in [*titles, "moondream-kd-answer-only"]}
    assert set(rows("scienceqa-mini-measured")) == of_options
    others = {f"{title}-mini" for title in titles if title != "Moondream-kd"}
    assert set(rows("vqaonline-mini-measured")) == others
    page = (EXAMPLE / "leaderboard.html").read_text(encoding="utf-8")
    assert "Not measured: Moondream-kd-mini." in page
    for table in ("scienceqa-reported", "vqaonline-reported"):
        reported = rows(table)
        assert list(reported) == titles
        assert ("\N{EM DASH}" in reported["Moondream-kd"]) == table.startswith("vqaonline")
