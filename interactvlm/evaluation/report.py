"""Scores to one document: the headline numbers, the paper's tables, baselines and intervals; JSON values only.

Shares and F1 lie in [0, 1] (a gap of 0.10 is ten points), distances are centimetres, None means "not annotated here".
Photos of categories that training never saw are counted in no table but their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES
from interactvlm.evaluation import published
from interactvlm.evaluation.bootstrap import bootstrap_interval
from interactvlm.evaluation.prior import CategoryPrior
from interactvlm.evaluation.scores import MethodScores
from interactvlm.evaluation.truth import TruthSet, supercategory_of
from interactvlm.types import Task

__all__ = ["HEADLINE", "PRIOR", "build_report"]

HEADLINE = (
    "binary_f1",
    "semantic_f1",
    "geodesic_cm",
    "prior_gap_f1",
    "left_right_acc",
    "no_contact_acc",
    "object_sim",
    "object_auc",
    "n",
)
"""Keys of the document's top level that other programs may rely on."""

PRIOR = "category prior"
"""Name of the baseline that `prior_gap_f1` is measured against."""

Mask = NDArray[np.bool_]


def build_report(
    truths: TruthSet, methods: Sequence[MethodScores], *, prior: CategoryPrior | None = None
) -> dict[str, Any]:
    """Draw every table.

    Args:
        truths: what was scored against.
        methods: the evaluated model first, then baselines.
        prior: tells which categories have several interactions in training.

    Returns:
        `HEADLINE`'s keys, then "methods", "unseen_categories", "per_part", "per_category", "per_object",
        "per_template", "objects", "calibration", "intervals", "failures" and "published".
    """
    tables = _Tables(truths, prior)
    model = methods[0]
    rival = next((method for method in methods[1:] if method.name == PRIOR), None)
    summary = tables.summary(model, unseen=False)
    gap = tables.gap(model, rival, tables.varied) if rival is not None else None
    headline = {
        "binary_f1": summary["binary"]["f1"],
        "semantic_f1": summary["semantic"]["f1"],
        "geodesic_cm": summary["binary"]["geodesic_cm"],
        "prior_gap_f1": gap["mean"] if gap else None,
        "left_right_acc": summary["left_right_acc"],
        "no_contact_acc": summary["no_contact_acc"],
        "object_sim": summary["object"]["sim"],
        "object_auc": summary["object"]["auc"],
        "n": summary["n"],
    }
    touched = tables.touched & ~tables.unseen
    return {
        **headline,
        "methods": {method.name: tables.summary(method, unseen=False) for method in methods},
        "unseen_categories": {method.name: tables.summary(method, unseen=True) for method in methods},
        "per_part": tables.per_part(model),
        "per_category": tables.grouped(model, touched & tables.is_task(Task.SEMANTIC), tables.supercategory),
        "per_object": tables.grouped(model, touched & tables.is_task(Task.SEMANTIC), tables.category),
        "per_template": tables.grouped(model, touched & tables.is_task(Task.SEMANTIC), tables.template),
        "objects": {
            "per_affordance": tables.grouped_objects(model, [truth.affordance for truth in truths.objects]),
            "per_object": tables.grouped_objects(model, [truth.category for truth in truths.objects]),
        },
        "calibration": model.reliability.as_dict(),
        "intervals": {
            "model": tables.intervals(model),
            "gaps": {
                method.name: {
                    "binary_f1": tables.gap(model, method, touched & tables.is_task(Task.BINARY)),
                    "semantic_f1": tables.gap(model, method, touched & tables.is_task(Task.SEMANTIC)),
                    "semantic_f1_where_templates_vary": tables.gap(model, method, tables.varied),
                }
                for method in methods[1:]
            },
        },
        "failures": {
            "questions": int(model.human.failed.sum() + model.objects.failed.sum()),
            "reasons": list(model.errors[:20]),
        },
        "published": {
            "damon_binary": _plain(published.DAMON_BINARY),
            "damon_generated": _plain(published.DAMON_GENERATED),
            "damon_category_f1": _plain(published.DAMON_CATEGORY_F1),
            "3dir_binary": _plain(published.LEMON_BINARY),
            "piad_seen": _plain(published.PIAD_SEEN),
            "piad_unseen": _plain(published.PIAD_UNSEEN),
        },
    }


class _Tables:
    """The rows of a data set, and means over chosen ones of them."""

    def __init__(self, truths: TruthSet, prior: CategoryPrior | None) -> None:
        self.truths = truths
        self.photo = [truth.sample_id for truth in truths.human]
        self.category = [truth.category for truth in truths.human]
        self.supercategory = [supercategory_of(truth.category) for truth in truths.human]
        self.template = [truth.template for truth in truths.human]
        self.touched = np.array([truth.touched for truth in truths.human], dtype=bool)
        self.unseen = np.array([truth.unseen for truth in truths.human], dtype=bool)
        self.unseen_object = np.array([truth.unseen for truth in truths.objects], dtype=bool)
        self._task = np.array([truth.task.value for truth in truths.human], dtype="U16")
        semantic = self.touched & ~self.unseen & self.is_task(Task.SEMANTIC)
        varied = np.array([prior is not None and prior.varies(truth) for truth in truths.human], dtype=bool)
        # Data sets without templates leave nothing to choose from: every touched object counts.
        self.varied: Mask = semantic & varied if (semantic & varied).any() else semantic

    def is_task(self, task: Task) -> Mask:
        """Rows of one task, [R]."""
        return np.asarray(self._task == task.value)

    def summary(self, method: MethodScores, *, unseen: bool) -> dict[str, Any]:
        """One line of the main table."""
        chosen = (self.unseen if unseen else ~self.unseen) & method.human.answered
        of_object = (self.unseen_object if unseen else ~self.unseen_object) & method.objects.answered
        photos = {*_pick(self.photo, chosen), *_pick([truth.sample_id for truth in self.truths.objects], of_object)}
        semantic = chosen & self.is_task(Task.SEMANTIC)
        return {
            "n": len(photos),
            "binary": self._contact(method, chosen & self.touched & self.is_task(Task.BINARY)),
            "semantic": self._contact(method, semantic & self.touched),
            "scene": self._contact(method, chosen & self.touched & self.is_task(Task.SCENE)),
            "left_right_acc": _mean(method.human.right_side, semantic & method.human.one_handed),
            "left_right_n": int((semantic & method.human.one_handed).sum()),
            "no_contact_acc": _mean(method.human.silent, semantic & ~self.touched),
            "no_contact_n": int((semantic & ~self.touched).sum()),
            "contact_found_acc": _mean(~method.human.silent, semantic & self.touched),
            "object": self._heat(method, of_object),
        }

    def per_part(self, method: MethodScores) -> dict[str, Any]:
        """Tab. S.2: every part, over BINARY rows (else SEMANTIC ones) in which it is touched or predicted."""
        human = method.human
        rows = human.answered & self.touched & ~self.unseen
        kind = Task.BINARY if (rows & self.is_task(Task.BINARY)).any() else Task.SEMANTIC
        rows = rows & self.is_task(kind)
        table: dict[str, Any] = {}
        named_true, named = human.parts(human.true), human.parts(human.predicted)
        for index, name in enumerate(PART_NAMES):
            hits, predicted, true = (a[rows, index] for a in (human.hits, human.predicted, human.true))
            chosen = (predicted > 0) | (true > 0)
            found = int((named[rows, index] & named_true[rows, index]).sum())
            near = human.distance[rows, index][predicted > 0] / predicted[predicted > 0]
            table[name] = {
                "rows": int((true > 0).sum()),
                "precision": _ratio_mean(hits, predicted, predicted > 0),
                "recall": _ratio_mean(hits, true, true > 0),
                "f1": _ratio_mean(2 * hits, predicted + true, chosen),
                "geodesic_cm": float(100 * near.mean()) if len(near) else None,
                "named_precision": _share(found, int(named[rows, index].sum())),
                "named_recall": _share(found, int(named_true[rows, index].sum())),
            }
        return table

    def grouped(self, method: MethodScores, rows: Mask, labels: Sequence[str]) -> dict[str, Any]:
        """Contact by a label of the rows, in alphabetical order; rows without one are left out."""
        rows = rows & method.human.answered
        of_row = np.array(labels, dtype=object)
        names = sorted(set(_pick(labels, rows)) - {""})
        return {name: self._contact(method, rows & (of_row == name)) for name in names}

    def grouped_objects(self, method: MethodScores, labels: Sequence[str]) -> dict[str, Any]:
        """Object measures by a label, seen and unseen categories together."""
        of_row = np.array(labels, dtype=object)
        names = sorted(set(labels) - {""})
        return {name: self._heat(method, method.objects.answered & (of_row == name)) for name in names}

    def intervals(self, method: MethodScores) -> dict[str, Any]:
        """Bootstrap intervals of the headline numbers."""
        human, seen = method.human, ~self.unseen & method.human.answered
        semantic = seen & self.is_task(Task.SEMANTIC)
        rows: dict[str, tuple[NDArray[Any], Mask]] = {
            "binary_f1": (human.f1, seen & self.touched & self.is_task(Task.BINARY)),
            "semantic_f1": (human.f1, semantic & self.touched),
            "geodesic_cm": (human.geodesic_cm, seen & self.touched & self.is_task(Task.BINARY)),
            "left_right_acc": (human.right_side, semantic & human.one_handed),
            "no_contact_acc": (human.silent, semantic & ~self.touched),
        }
        found: dict[str, Any] = {name: self._interval(values, chosen) for name, (values, chosen) in rows.items()}
        photos = [truth.sample_id for truth in self.truths.objects]
        objects = method.objects.answered & ~self.unseen_object
        for name, values, chosen in (
            ("object_sim", method.objects.similarity, objects),
            ("object_auc", method.objects.auc, objects & method.objects.valid),
        ):
            found[name] = _as_list(bootstrap_interval(values[chosen], _pick(photos, chosen)))
        return found

    def gap(self, model: MethodScores, other: MethodScores, rows: Mask) -> dict[str, Any] | None:
        """Difference of mean F1 over the rows that both answered, with its paired interval; None without rows."""
        rows = rows & model.human.answered & other.human.answered
        if not rows.any():
            return None
        ours, theirs = model.human.f1[rows], other.human.f1[rows]
        interval = bootstrap_interval(ours, _pick(self.photo, rows), minus=theirs)
        return {
            "mean": float((ours - theirs).mean()),
            "interval": _as_list(interval),
            "model": float(ours.mean()),
            "baseline": float(theirs.mean()),
            "rows": int(rows.sum()),
        }

    def _interval(self, values: NDArray[Any], rows: Mask) -> list[float] | None:
        return _as_list(bootstrap_interval(values[rows].astype(np.float64), _pick(self.photo, rows)))

    def _contact(self, method: MethodScores, rows: Mask) -> dict[str, Any]:
        human = method.human
        with_distance = rows & (human.whole > 0)
        return {
            "rows": int(rows.sum()),
            "f1": _mean(human.f1, rows),
            "precision": _mean(human.precision, rows),
            "recall": _mean(human.recall, rows),
            "geodesic_cm": _mean(human.geodesic_cm, with_distance),
        }

    def _heat(self, method: MethodScores, rows: Mask) -> dict[str, Any]:
        objects = method.objects
        return {
            "rows": int(rows.sum()),
            "sim": _mean(objects.similarity, rows),
            "auc": _mean(objects.auc, rows & objects.valid),
            "aiou": _mean(objects.iou, rows & objects.valid),
            "mae": _mean(objects.absolute_error, rows),
        }


def _pick(labels: Sequence[str], rows: Mask) -> list[str]:
    return [label for label, chosen in zip(labels, rows, strict=True) if chosen]


def _mean(values: NDArray[Any], rows: Mask) -> float | None:
    return float(values[rows].mean(dtype=np.float64)) if rows.any() else None


def _ratio_mean(top: NDArray[Any], bottom: NDArray[Any], rows: Mask) -> float | None:
    return float((top[rows] / bottom[rows]).mean()) if rows.any() else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _plain(table: Any) -> dict[str, dict[str, float]]:
    return {name: dict(row) for name, row in table.items()}
