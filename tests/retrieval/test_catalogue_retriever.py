from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.geometry.load import load_mesh
from interactvlm.retrieval.catalogue_objects import CatalogueObject, catalogue_objects
from interactvlm.retrieval.catalogue_retriever import CatalogueRetriever
from interactvlm.retrieval.clouds import cloud_of_mesh
from interactvlm.retrieval.retriever import ImageQuery
from interactvlm.retrieval.rows import RowFilter
from interactvlm.retrieval.text_embedding import load_text_embedder
from interactvlm.retrieval.view_renders import INDEX_VIEWS, photo_rotation, render_object

IDS = ("chair", "generator/bicycle/0", "generator/umbrella/0", "couch", "generator/frisbee/0", "pianoAQueue")


class Colours:
    """Features of a few numbers: the colours of 2 x 2 parts of each patch, with their squares and products."""

    key = "colours"
    patch_size = 14
    channels = 150

    def __init__(self) -> None:
        self.calls = 0
        self._mix = np.random.default_rng(0).normal(size=(24, self.channels)).astype(np.float32)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        number, side = images.shape[:2]
        grid = side // 14
        parts = images.reshape(number, grid, 2, 7, grid, 2, 7, 3).mean(axis=(3, 6)).transpose(0, 1, 3, 2, 4, 5)
        flat = (parts.reshape(number, grid, grid, 12) / 128 - 1).astype(np.float32)
        return np.tanh(np.concatenate([flat, flat**2], axis=-1) @ self._mix)


@pytest.fixture(scope="module")
def objects() -> list[CatalogueObject]:
    return [item for item in catalogue_objects() if item.row.id in IDS]


@pytest.fixture(scope="module")
def features() -> Colours:
    return Colours()


@pytest.fixture(scope="module")
def retriever(
    objects: list[CatalogueObject], features: Colours, tmp_path_factory: pytest.TempPathFactory
) -> CatalogueRetriever:
    return CatalogueRetriever(tmp_path_factory.mktemp("cache"), lambda: features, objects=objects)


def test_a_text_finds_its_category_in_any_spelling(retriever: CatalogueRetriever) -> None:
    for text, category in (("Bicycles", "bicycle"), ("parasol", "umbrella"), ("flying_disc", "frisbee")):
        (answer,) = retriever.by_text([text], limit=3)
        assert answer.category == category
        assert answer.hits[0].row.category == category
        assert answer.hits[0].similarity == 1
        assert not answer.nothing_close
        assert answer.hits[0].confidence is not None
        assert answer.hits[0].confidence > 0.8


def test_what_the_catalogue_lacks_is_nothing_close(retriever: CatalogueRetriever) -> None:
    (answer,) = retriever.by_text(["quarterly tax report"])
    assert answer.nothing_close
    assert answer.hits  # the nearest, for those who want to see them


def test_vectors_of_the_text_space_find_the_same_as_their_texts(retriever: CatalogueRetriever) -> None:
    texts = ["something with two wheels and pedals", "thing against rain"]
    by_text = retriever.by_text(texts, limit=5)
    by_vector = retriever.by_embedding(load_text_embedder()(texts), limit=5)
    assert [[hit.row.id for hit in one.hits] for one in by_text] == [
        [hit.row.id for hit in one.hits] for one in by_vector
    ]


def test_a_view_is_found_again_with_its_rotation(retriever: CatalogueRetriever, objects: list[CatalogueObject]) -> None:
    for item in objects:
        images, share = render_object(item.mesh(), [INDEX_VIEWS[3], INDEX_VIEWS[9]], 300)
        masks = share > 0.5
        for image, mask, pose in zip(images, masks, (INDEX_VIEWS[3], INDEX_VIEWS[9]), strict=True):
            (answer,) = retriever.by_image([ImageQuery(image, mask=mask)], limit=2)
            assert answer.hits[0].row.id == item.row.id
            view = answer.hits[0].view
            assert view is not None
            if item.row.category == "chair":  # others look alike from several sides
                assert (view.azimuth, view.elevation) == (pose.azimuth, pose.elevation)
                assert np.array_equal(view.rotation, photo_rotation(pose))


def test_turned_objects_are_found_when_it_is_said(
    retriever: CatalogueRetriever, objects: list[CatalogueObject]
) -> None:
    umbrella = next(item for item in objects if item.row.category == "umbrella")
    images, share = render_object(umbrella.mesh(), [dataclasses.replace(INDEX_VIEWS[0], roll=90.0)], 300)
    (answer,) = retriever.by_image([ImageQuery(images[0], mask=share[0] > 0.5, turned=True)], limit=1)
    view = answer.hits[0].view
    assert answer.hits[0].row.id == umbrella.row.id
    assert view is not None
    assert view.roll == 90
    top = np.array([0.0, 1.0, 0.0]) @ view.rotation
    assert top[0] > 0.9  # to the right in the photo


def test_batches_and_single_queries_agree(retriever: CatalogueRetriever, objects: list[CatalogueObject]) -> None:
    queries = [ImageQuery(render_object(item.mesh(), INDEX_VIEWS[:1], 120)[0][0]) for item in objects[:3]]
    together = retriever.by_image(queries)
    for query, answer in zip(queries, together, strict=True):
        (alone,) = retriever.by_image([query])
        assert [(hit.row.id, hit.similarity) for hit in alone.hits] == [
            (hit.row.id, hit.similarity) for hit in answer.hits
        ]
    assert retriever.by_image([]) == retriever.by_text([]) == []


def test_filters_hold_for_every_kind_of_query(retriever: CatalogueRetriever, objects: list[CatalogueObject]) -> None:
    where = RowFilter(categories=frozenset({"couch"}))
    mesh = objects[0].mesh()
    photo = render_object(mesh, INDEX_VIEWS[:1], 120)[0][0]
    answers = [
        *retriever.by_text(["bicycle"], where=where),
        *retriever.by_image([ImageQuery(photo)], where=where),
        *retriever.by_shape([mesh], where=where),
    ]
    assert [[hit.row.category for hit in answer.hits] for answer in answers] == [["couch"]] * 3
    (nothing,) = retriever.by_text(["bicycle"], where=RowFilter(max_faces=1))
    assert nothing.hits == ()
    assert nothing.nothing_close


def test_a_mesh_finds_itself(retriever: CatalogueRetriever, objects: list[CatalogueObject]) -> None:
    for item in objects:
        (answer,) = retriever.by_shape([item.mesh()], limit=1)
        assert answer.hits[0].row.id == item.row.id
    with pytest.raises(InputError, match="send a mesh"):
        retriever.by_shape([cloud_of_mesh(objects[0].mesh())])


def test_meshes_come_by_their_hash(retriever: CatalogueRetriever, objects: list[CatalogueObject]) -> None:
    for item in objects:
        file = retriever.mesh(item.row.mesh_sha256)
        assert hashlib.sha256(file.content).hexdigest() == item.row.mesh_sha256
        assert len(load_mesh(file.content, file_type=file.file_type).faces) == item.row.faces
        assert retriever.find(item.row.id) == item.row
    assert retriever.thumbnail(objects[0].row.mesh_sha256, size=32).shape == (32, 32, 3)
    assert retriever.find("nobody") is None
    with pytest.raises(InputError, match="not among the catalogue's meshes"):
        retriever.mesh("../../etc/passwd")


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_limits_are_stated(retriever: CatalogueRetriever, limit: int) -> None:
    with pytest.raises(InputError, match="from 1 to 100"):
        retriever.by_text(["chair"], limit=limit)


@pytest.mark.parametrize("shape", [(1, 383), (1, 385), (384, 2)])
def test_vectors_of_another_space_are_refused(retriever: CatalogueRetriever, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="384"):
        retriever.by_embedding(np.ones(shape, np.float32))


def test_the_index_is_built_once_and_anew_when_the_contents_change(
    objects: list[CatalogueObject], tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    few, encoder = objects[:2], Colours()

    def opened(chosen: list[CatalogueObject]) -> CatalogueRetriever:
        return CatalogueRetriever(tmp_path, lambda: encoder, objects=chosen, progress=lambda *step: told.append(step))

    opened(few).warm_views()
    assert told == [("views", 1, 2), ("views", 2, 2)]
    built = encoder.calls
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: opened(few).warm_views(), range(4)))
    assert encoder.calls == built
    changed = [dataclasses.replace(few[0], row=dataclasses.replace(few[0].row, mesh_sha256="0" * 64)), few[1]]
    opened(changed).warm_views()
    assert encoder.calls > built
    assert opened(changed).version != opened(few).version
    assert len(list(tmp_path.glob("views-*.safetensors"))) == 1
