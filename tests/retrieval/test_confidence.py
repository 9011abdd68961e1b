from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.confidence import Calibration, calibration, rate
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.search import Hit, TableSearcher
from interactvlm.retrieval.text_embedding import load_text_embedder
from interactvlm.retrieval.vector_table import VectorTable
from tools import fit_confidence

MODEL = Calibration("test", bias=-6.0, similarity=8.0, margin=8.0)


def hits(*pairs: tuple[str, float]) -> list[Hit]:
    return [Hit(similarity, TableRow(id=str(i), category=kind)) for i, (kind, similarity) in enumerate(pairs)]


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 0.5))
def test_confidence_is_a_probability_that_grows_with_similarity_and_lead(best: float, rival: float, more: float):
    p = MODEL.probability(best, rival)
    assert 0 <= p <= MODEL.probability(best + more, rival) <= 1
    assert MODEL.probability(best, rival + more) <= p


def test_hits_of_one_category_are_no_rivals() -> None:
    rating = rate(hits(("cup", 0.9), ("cup", 0.88), ("vase", 0.4)), MODEL)
    assert rating.confidence[0] > rating.confidence[1] > 0.9 > 0.1 > rating.confidence[2]
    assert not rating.nothing_close
    # Without categories every row is a rival of every other.
    assert rate(hits(("", 0.9), ("", 0.88)), MODEL).confidence[0] < rating.confidence[0]


def test_far_hits_are_nothing_close() -> None:
    assert rate(hits(("cup", 0.3), ("vase", 0.29)), MODEL).nothing_close
    assert rate([], MODEL).nothing_close
    assert rate([], MODEL).confidence.shape == (0,)


def test_two_meanings_of_a_word_are_close_together() -> None:
    rating = rate(hits(("backpack", 0.74), ("handbag", 0.74), ("cup", 0.2)), MODEL)
    assert (rating.confidence[:2] < 0.5).all()
    assert not rating.nothing_close


def test_spaces_that_nobody_measured_have_no_confidence() -> None:
    assert calibration("openshape-g14") is None


def test_the_shipped_calibration_knows_words_and_their_absence(tmp_path: Path) -> None:
    embed, by = load_text_embedder(), calibration("catalogue-text")
    assert by is not None
    names = [name for name in CATEGORIES if name != "umbrella"]
    table = VectorTable(tmp_path)
    table.add([TableRow(id=name, category=name) for name in names], embed(names))
    searcher = TableSearcher(table.open(), threads=1)
    known, hidden, other = (
        rate(found, by) for found in searcher.search(embed(["a sofa bed", "parasol", "quarterly tax report"]), limit=5)
    )
    searcher.close()
    assert not known.nothing_close
    assert known.confidence[0] > 0.5
    assert hidden.nothing_close
    assert other.nothing_close


def test_fitting_finds_the_odds_that_made_the_answers() -> None:
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(20_000), rng.uniform(0, 1, 20_000), rng.uniform(-0.5, 0.5, 20_000)])
    truth = np.array([-4.0, 6.0, 5.0])
    right = rng.random(20_000) < fit_confidence.probability(features, truth)
    np.testing.assert_allclose(fit_confidence.fit(features, right), truth, rtol=0.1)


def test_the_tool_makes_about_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_confidence, "PHRASES", ("{}", "a {}"))  # less to embed
    monkeypatch.setattr(sys, "argv", ["fit_confidence", "--target", str(tmp_path / "confidence.json")])
    fit_confidence.main()
    fitted = json.loads((tmp_path / "confidence.json").read_text())["spaces"][0]
    shipped = json.loads(fit_confidence.TARGET.read_text())["spaces"][0]
    assert fitted["space"] == shipped["space"] == "catalogue-text"
    for name in ("bias", "similarity", "margin"):
        assert fitted[name] == pytest.approx(shipped[name], rel=0.3)
    assert shipped["held_out"]["calibration_error"] < 0.03
    assert shipped["held_out"]["nothing_close_when_hidden"] > 0.75
