from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.body.template import load_template
from interactvlm.errors import InputError
from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_VIEWS
from interactvlm.results.figure import MAX_ROWS, WIDTH, draw_figures
from interactvlm.results.lettering import text_width, wrap
from interactvlm.results.views import FRONT_AND_BACK, draw_views
from interactvlm.types import Box, ModelIdentity, Task

RED, YELLOW, WHITE = (178, 0, 24), (255, 196, 0), (255, 255, 255)


def draw(scene, prediction=None):
    surfaces = {**scene.surfaces, "toy": scene.body.as_mesh()}
    return draw_figures(prediction or scene.prediction, title="photo", photo=scene.photo, surfaces=surfaces)


def top_strip(figure) -> np.ndarray:
    return np.asarray(figure)[4:12]


def test_untrained_banner_spans_the_top_and_every_row_repeats_it(make_scene):
    scene = make_scene(trained=False)
    [figure] = draw(scene)
    assert figure.width == WIDTH
    assert (top_strip(figure) == RED).all()
    banner_height = int(np.argmin((np.asarray(figure)[:, 5] == RED).all(axis=1)))
    assert banner_height >= 80
    rest = (np.asarray(figure)[banner_height:] == RED).all(axis=2)
    tag_starts = np.flatnonzero(np.diff(rest[:, 45].astype(int)) == 1)
    assert len(tag_starts) == len(scene.prediction.results)


def test_notice_of_a_trained_model_is_a_banner_of_another_colour(make_scene):
    scene = make_scene(notices=("Nobody was found; the whole photo was used.",))
    [figure] = draw(scene)
    assert (top_strip(figure) == YELLOW).all()
    assert not (np.asarray(figure) == RED).all(axis=2).any()


def test_no_banner_without_notices(scene):
    [figure] = draw(scene)
    assert (top_strip(figure) == WHITE).all()


def test_untrained_without_any_sentence_still_has_the_banner(scene):
    model = ModelIdentity("nano", "0", trained=False)
    [figure] = draw(scene, dataclasses.replace(scene.prediction, model=model, results=()))
    assert (top_strip(figure) == RED).all()


def test_rows_are_capped_and_continue(scene):
    [result] = scene.results(Task.SEMANTIC)
    first, second = draw(scene, scene.with_results(*[result] * (MAX_ROWS + 1)))
    assert first.width == second.width == WIDTH
    assert first.height > 4 * second.height


@pytest.mark.parametrize("size", [(16, 4000), (4000, 16), (300, 300)])
def test_any_photo_shape_and_boxes_outside_it(scene, size):
    photo = np.full((*size, 3), 120, np.uint8)
    prediction = dataclasses.replace(
        scene.with_results(scene.prediction.results[0]),
        photo_size=size,
        region=Box(-50, -50, 1e5, 1e5),
        person=Box(5000, 5000, 5001, 5001),
    )
    [figure] = draw_figures(prediction, title="a" * 300, photo=photo, surfaces={"toy": scene.body.as_mesh()})
    photo_or_box = [(np.asarray(figure) == colour).all(axis=2).any() for colour in ((120, 120, 120), (0, 150, 110))]
    assert any(photo_or_box)


def test_missing_surface_is_named(scene):
    with pytest.raises(InputError, match="toy"):
        draw_figures(scene.prediction, title="p", photo=scene.photo, surfaces=scene.surfaces)


def test_anny_is_seen_whole_from_every_side_and_contact_on_the_side_it_is():
    body = load_template("anny")
    front = body.vertices[:, 2] > np.quantile(body.vertices[:, 2], 0.7)
    colours = np.where(front[:, None], np.uint8([255, 0, 0]), np.uint8([200, 200, 200])).astype(np.uint8)
    pictures = draw_views(body.as_mesh(), colours, HUMAN_VIEWS + FRONT_AND_BACK, side=128)
    assert len(pictures) == 6
    # Cut to the body, hence inside the picture with nothing cut off.
    assert all(40 < max(picture.size) < 128 for picture in pictures[4:])

    def red(picture) -> int:
        pixels = np.asarray(picture).astype(int)
        return int(((pixels[..., 0] > 2 * pixels[..., 1]) & (pixels[..., 3] > 0)).sum())

    assert red(pictures[4]) > 10 * (red(pictures[5]) + 1)


def test_points_are_drawn(scene):
    colours = np.full((300, 3), 90, np.uint8)
    for picture in draw_views(scene.points.centred(), colours, OBJECT_VIEWS, side=96):
        assert (np.asarray(picture)[..., 3] > 0).mean() > 0.05


@given(st.text(max_size=200), st.integers(40, 400), st.integers(1, 3))
def test_wrapped_lines_fit(text, width, lines):
    wrapped = wrap(text, size=20, width=width, lines=lines)
    assert len(wrapped) <= lines
    assert all(text_width(line, size=20) <= width for line in wrapped)


def test_letters_the_font_lacks():
    assert wrap("café — “椅”\n\u2019", size=20, width=400, lines=1) == ["cafe - “?” '"]


def test_a_long_text_ends_in_an_ellipsis():
    first, last = wrap("word " * 100, size=20, width=300, lines=2)
    assert last.endswith("…")
    assert first.endswith("word")
