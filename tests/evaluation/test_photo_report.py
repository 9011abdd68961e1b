from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from interactvlm.body.parts import PART_NAMES
from interactvlm.errors import InputError, InteractVLMError
from interactvlm.evaluation.photo_report import evaluate_photos, part_scores
from interactvlm.evaluation.photo_rows import PhotoRow, read_rows
from interactvlm.types import Box, Question, Task

ROWS = """
[[row]]
photo = "red.png"
person = [0, 0, 30, 30]
object = "cup"
parts = ["right leg"]
who = "the tall one"

[[row]]
photo = "red.png"
person = [0, 0, 30, 30]
object = "ground"
parts = ["left foot", "right foot"]

[[row]]
photo = "dark.png"
object = "cup"
parts = []
optional = ["head"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("red", (255, 0, 0)), ("dark", (0, 0, 0))):
        Image.fromarray(np.full((40, 50, 3), colour, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "rows.toml").write_text(ROWS)
    return tmp_path


def test_rows_are_read(folder: Path) -> None:
    rows = read_rows(folder / "rows.toml", folder)
    assert rows[0] == PhotoRow("red.png", Box(0, 0, 30, 30), "cup", ("right leg",), who="the tall one")
    assert [row.question for row in rows] == [
        *(Question(Task.SEMANTIC, "cup"), Question(Task.SCENE), Question(Task.SEMANTIC, "cup")),
    ]


def test_photos_are_asked_drawn_and_counted(folder: Path, model, seen, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = read_rows(folder / "rows.toml", folder)
    report = evaluate_photos(model.pipeline, folder, rows, out)
    assert seen.questions == [Question(Task.SEMANTIC, "cup"), Question(Task.SCENE), Question(Task.SEMANTIC, "cup")]
    assert json.loads((out / "photos.json").read_text()) == report
    # A red photo is touched over the last half of the vertices, a dark one nowhere (tests/evaluation/fakes.py).
    cup, ground, dark = report["rows"]
    assert "right leg" in cup["predicted"]
    assert cup["part_f1"] == pytest.approx(2 / (1 + len(cup["predicted"])))
    assert cup["recall"] == 1
    assert dark["predicted"] == []
    assert dark["part_f1"] == 1
    assert report["n"] == 3
    assert report["rows_with_part_f1_half"] == sum(row["part_f1"] >= 0.5 for row in (cup, ground, dark))
    assert {row["figure"] for row in report["rows"]} == {"red-00.png", "dark-01.png"}
    assert all((out / row["figure"]).stat().st_size > 1000 for row in report["rows"])
    assert f"in {report['rows_with_part_f1_half']} of 3 rows" in (out / "photos.md").read_text()


@pytest.mark.parametrize(
    ("predicted", "true", "optional", "scores"),
    [
        (["left hand"], ["left hand"], [], (1, 1, 1)),
        (["left hand", "head"], ["left hand", "right hand"], [], (0.5, 0.5, 0.5)),
        (["left hand", "head"], ["left hand"], ["head"], (1, 1, 1)),
        ([], ["left hand"], [], (0, 0, 0)),
        (["head"], [], [], (0, 0, 0)),
        ([], [], [], (1, 1, 1)),
    ],
)
def test_part_scores(predicted: list[str], true: list[str], optional: list[str], scores: tuple[float, ...]) -> None:
    row = PhotoRow("a.jpg", None, "cup", tuple(true), tuple(optional))
    assert part_scores(predicted, row) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no"),
        ("row = 3", "holds no"),
        ("[[row", "is not valid TOML"),
        ('[[row]]\nobject = "cup"\nparts = []', "row 1: lacks `photo`"),
        ('[[row]]\nphoto = "red.png"\nparts = []', "lacks `object`"),
        ('[[row]]\nphoto = "red.png"\nobject = "cup"', "`parts` must be a list of body parts"),
        ('[[row]]\nphoto = "red.png"\nobject = "cup"\nparts = ["nose"]', f"names 'nose'; known: {PART_NAMES[0]}"),
        ('[[row]]\nphoto = "../red.png"\nobject = "cup"\nparts = []', "does not lie in"),
        ('[[row]]\nphoto = "red.png"\nobject = "cup"\nparts = []\nperson = [1, 2]', "`person` must be"),
        ('[[row]]\nphoto = "red.png"\nobject = "cup"\nparts = []\nbox = [1]', "unknown key 'box'"),
        ('[[row]]\nphoto = "red.png"\nobject = "[SEG]"\nparts = []', "special token"),
        ('[[row]]\nphoto = 3\nobject = "cup"\nparts = []', "`photo` must be text"),
    ],
)
def test_what_is_wrong_with_a_rows_file_is_told(folder: Path, text: str, message: str) -> None:
    (folder / "rows.toml").write_text(text)
    with pytest.raises(InteractVLMError, match=message.replace("[", r"\[")):
        read_rows(folder / "rows.toml", folder)


def test_a_missing_rows_file_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(folder / "absent.toml", folder)


VALUES = st.one_of(
    *(st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=8), st.lists(st.integers(-9, 99), max_size=5)),
    st.lists(st.sampled_from([*PART_NAMES, "nose"]), max_size=4),
    st.sampled_from(["red.png", "cup", "ground"]),
)
KEYS = st.sampled_from(["photo", "person", "object", "parts", "optional", "who", "box"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(KEYS, VALUES), max_size=3))
def test_any_rows_are_read_or_refused_in_one_sentence(folder: Path, rows: list[dict[str, object]]) -> None:
    tables = ["".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items()) for row in rows]
    text = "".join(f"[[row]]\n{table}" for table in tables)
    (folder / "rows.toml").write_text(text.replace("NaN", "nan").replace("Infinity", "inf"))
    told, read = "", []
    try:
        read = read_rows(folder / "rows.toml", folder)
    except InteractVLMError as error:
        told = str(error)
    assert len(told.splitlines()) <= 1
    assert told or len(read) == len(rows)
    assert all(set(row.parts) <= set(PART_NAMES) for row in read)
