from __future__ import annotations

import pytest

from interactvlm.errors import InputError
from interactvlm.evaluation.damon import DAMON_CATEGORIES, category_of
from interactvlm.objects.categories import CATEGORIES, UNSEEN_CATEGORIES, category
from interactvlm.objects.instances import instances


def test_damons_categories_are_all_there_under_their_supercategories():
    ours = {entry.damon for entry in CATEGORIES.values() if entry.damon}
    assert ours == {name for names in DAMON_CATEGORIES.values() for name in names}
    for entry in CATEGORIES.values():
        if entry.damon:
            assert category_of(entry.damon) == entry.supercategory
        assert entry.supercategory in {*DAMON_CATEGORIES, "other"}


def test_every_category_has_synonyms_and_a_size():
    for entry in CATEGORIES.values():
        assert len(set(entry.synonyms)) >= 5, entry.name
        assert entry.name not in entry.synonyms
        assert 0 < entry.size_spread < entry.size_mean


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("tennis racket", "tennis racket"), ("Tennis_Racket", "tennis racket"), ("racquet", "tennis racket"),
     ("sofa", "couch"), (" cell  phone", "cell phone"), ("smartphone", "cell phone"), ("bike", "bicycle"),
     ("fridge", "refrigerator"), ("table", "table"), ("bowl", "bowl")],
)  # fmt: skip
def test_names_lead_to_their_category(name, canonical):
    assert category(name).name == canonical


def test_canonical_names_win_over_synonyms():
    assert all(category(name) is entry for name, entry in CATEGORIES.items())


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="dragon"):
        category("dragon")


@pytest.mark.parametrize("name", sorted(CATEGORIES))
def test_splits_share_no_instance_and_unseen_categories_are_never_trained_on(name):
    train, heldout = set(instances(name, "train")), set(instances(name, "heldout"))
    assert not train & heldout
    assert heldout
    if name in UNSEEN_CATEGORIES:
        assert not train
    else:
        assert len(train) > len(heldout)


def test_wrong_splits_and_categories_are_refused():
    with pytest.raises(InputError, match="split"):
        instances("chair", "test")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="category"):
        instances("sofa", "train")
