"""Tiny data sets in the published formats."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.formats import SMPL, jpeg, objects, point_rows, put


@pytest.fixture
def damon(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes a label file and its photos; arrays can be replaced, or left out with None."""

    def write(**changes: Any) -> tuple[Path, Path]:
        label = np.zeros((3, SMPL))
        label[0, [5, 9]] = 1
        label[1, 100] = 1
        arrays = {
            "imgname": np.array([f"datasets/HOT/images/photo_{i}.jpg" for i in range(3)]),
            "pose": np.zeros((3, 72)),
            "contact_label": label,
            "contact_label_smplx": np.zeros((3, 10475)),
            "contact_label_objectwise": objects(
                [
                    {"tennis_racket": np.array([9, 5, 9]), "supporting": [100, 3]},
                    {"chair": np.array([100], dtype=np.int32)},
                    {},
                ]
            ),
            "polygon_2d_contact": objects([{"chair": [[1.0, 2.0]]}, {}, {}]),
        } | changes
        path = tmp_path / "damon" / "test.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        for i in range(3):
            put(tmp_path / "damon" / "photos" / "HOT" / "images" / f"photo_{i}.jpg", jpeg(i))
        return path, tmp_path / "damon" / "photos"

    return write


@pytest.fixture
def piad(tmp_path: Path) -> Path:
    """Two photos a split, in the tree of the download; test rows are pairs, train rows are not."""
    root = tmp_path / "piad" / "Seen"
    sit, grasp = 5, 0
    for split, names in (("Train", ["Chair_sit_1", "Mug_grasp_4"]), ("Test", ["Chair_sit_2", "Laptop_press_1"])):
        photos, boxes = [], []
        for i, name in enumerate(names):
            kind, affordance, _ = name.split("_")
            where = f"Data/Seen/Img/{split}/{kind}/{affordance}"
            put(root / "Img" / split / kind / affordance / f"Img_{split}_{name}.jpg", jpeg(i))
            photos.append(f"{where}/Img_{split}_{name}.jpg")
            box = {
                "shapes": [
                    {"label": "object", "points": [[0, 0], [3, 3]], "shape_type": "rectangle"},
                    {"label": "subject", "points": [[20, 2], [4, 18]], "shape_type": "rectangle"},
                ]
            }
            put(root / "Box" / split / f"{name}.json", json.dumps(box))
            boxes.append(f"Data/Seen/Box/{split}/{name}.json")
        points = []
        shapes = ["Mug_1", "Chair_1", "Chair_2"] if split == "Train" else ["Chair_3", "Laptop_1"]
        for i, shape in enumerate(shapes):
            kind = shape.split("_")[0]
            column = {"Chair": sit, "Mug": grasp, "Laptop": 14}[kind]
            put(root / "Point" / split / kind / f"Point_{split}_{shape}.txt", point_rows(i, column, f"ab12 {kind}"))
            points.append(f"Data/Seen/Point/{split}/{kind}/Point_{split}_{shape}.txt")
        for listed, lines in (("Img", photos), ("Point", points), ("Box", boxes)):
            put(root / f"{listed}_{split}.txt", "\n".join(lines) + "\n")
    return root


@pytest.fixture
def lemon(tmp_path: Path) -> Path:
    """Two objects, one photo each, a third photo of the first."""
    root = tmp_path / "3DIR"
    ride, carry = 14, 16
    for i, (kind, affordance, name) in enumerate(
        [("Bicycle", "ride", "a1"), ("Bicycle", "ride", "a2"), ("BackPack", "carry", "b1")]
    ):
        put(root / "Images" / kind / affordance / f"{name}.jpg", jpeg(i))
        contact = np.zeros(SMPL, dtype=np.float32)
        contact[[i, 50]] = 1
        put(root / "Contact" / kind / affordance / f"{name}.pkl", pickle.dumps(contact))
    put(root / "Objects" / "Bicycle" / "1.txt", point_rows(1, ride))
    put(root / "Objects" / "Bicycle" / "2.txt", point_rows(2, ride))
    put(root / "Objects" / "BackPack" / "b1.txt", point_rows(3, carry))
    put(root / "txt" / "test.txt", "Data/Images/Bicycle/ride/a2.jpg\nData/Images/BackPack/carry/b1.jpg\n")
    put(root / "Images" / "overview.jpg", jpeg(9))
    return root


@pytest.fixture
def pico(tmp_path: Path) -> Callable[..., Path]:
    def write(contacts: Any, *, folder: str = "tennis_racket__000123") -> Path:
        home = tmp_path / "pico" / folder
        put(home / "000123.jpg", jpeg())
        put(home / "000123_mask.png", b"")
        put(home / "object.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n")
        put(home / "corresponding_contacts.json", contacts if isinstance(contacts, str) else json.dumps(contacts))
        return tmp_path / "pico"

    return write
