import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from interactvlm.datasets.shards import read_shards, shard_path
from interactvlm.errors import InputError, InteractVLMError
from interactvlm.synthesis.contact_sheet import contact_sheet, save_contact_sheet
from interactvlm.synthesis.generate import Order, generate, make_scene
from tests.synthesis.star_scene import star_scene

ORDER = Order(scenes=5, seed=7, split="train", shard_scenes=2)


def refused(seed, split):
    raise InputError("template", "never works out")


def refused_at_first(seed, split):
    if seed < 10**9:
        raise InputError("template", "never works out")
    return star_scene(seed, split)


def dies(seed, split):
    import os

    os._exit(9)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    counted = []
    generate(ORDER, folder, workers=1, progress=counted.append, compose=star_scene)
    assert sum(counted) == 5
    return folder


def test_files_do_not_depend_on_workers_and_come_back_after_a_kill(made, tmp_path):
    generate(ORDER, tmp_path, workers=2, compose=star_scene)
    whole = hashes(made)
    assert hashes(tmp_path) == whole
    kept = shard_path(tmp_path, "train", 0)
    before = kept.stat().st_mtime_ns
    shard_path(tmp_path, "train", 1).unlink()
    (tmp_path / ".writing-abc").write_bytes(b"half a sha")
    generate(ORDER, tmp_path, workers=1, compose=star_scene)
    (tmp_path / ".writing-abc").unlink()
    assert hashes(tmp_path) == whole
    assert kept.stat().st_mtime_ns == before


def test_samples_are_in_the_order_of_their_seeds(made):
    samples = read_shards(made, "train")
    assert [sample.sample_id for sample in samples] == [f"synthetic-train-{seed:010d}" for seed in range(7, 12)]
    assert len({sample.photo for sample in samples}) == 5
    assert len(list((made / "surfaces").iterdir())) == 1
    assert samples.geometry(4)["sources"] == ["generator/bottle/0", "generator/chair/0"]


def test_a_folder_keeps_its_order(made):
    with pytest.raises(InputError, match="seed 7, not 8"):
        generate(Order(scenes=5, seed=8, split="train", shard_scenes=2), made, workers=1, compose=star_scene)
    with pytest.raises(InputError, match="5 scenes already"):
        generate(Order(scenes=3, seed=7, split="train", shard_scenes=2), made, workers=1, compose=star_scene)
    assert json.loads((made / "train.json").read_text())["scenes"] == 5


def test_a_dead_worker_is_told_in_one_sentence(tmp_path):
    with pytest.raises(InteractVLMError, match="worker process died"):
        generate(Order(scenes=1, seed=0, split="train"), tmp_path, workers=1, compose=dies)
    assert not list(tmp_path.glob("*.parquet"))


def test_a_seed_that_gives_no_scene_is_replaced():
    sample, _ = make_scene(3, "train", refused_at_first)
    assert sample.sample_id == "synthetic-train-0000000003"
    assert sample.tags["seed"] == str(3 + 10**10)
    with pytest.raises(InputError, match="never works out"):
        make_scene(3, "train", refused)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"split": "test"}, "split"),
        ({"scenes": 0}, "scenes"),
        ({"seed": -1}, "seed"),
        ({"shard_scenes": 0}, "shard_scenes"),
    ],
)
def test_orders_outside_their_limits(values, field):
    with pytest.raises(InputError, match=f"^{field}: "):
        Order(**({"scenes": 1, "seed": 0, "split": "train"} | values))


def test_workers_must_be_there(tmp_path):
    with pytest.raises(InputError, match="workers"):
        generate(ORDER, tmp_path, workers=0)


def test_splits_share_no_seed():
    seeds = [set(Order(scenes=50, seed=0, split=split).seeds(0)) for split in ("train", "heldout", "unseen")]
    assert not seeds[0] & seeds[1]
    assert not seeds[1] & seeds[2]


def test_contact_sheet(made, tmp_path):
    samples = list(read_shards(made, "train"))
    sheet = contact_sheet(samples, columns=3, side=120)
    assert sheet.width == 360
    assert np.asarray(sheet).std() > 10
    save_contact_sheet(samples, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
