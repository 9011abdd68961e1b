"""The report as Markdown, in the layout of the paper's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["markdown_report", "markdown_table"]

_TITLES = {
    "per_category": "Semantic contact by category (paper Tab. 2)",
    "per_object": "Semantic contact by object (paper Tab. S.3)",
    "per_template": "Semantic contact by interaction",
}


def markdown_report(report: Mapping[str, Any], *, title: str) -> str:
    """Every table of a report.

    Args:
        report: of `build_report`.
        title: the first line.
    """
    sections = [
        f"# {title}",
        _main(report["methods"], report["published"]),
        "## Gap to the baselines (F1 points, 95 % interval over photos)\n\n" + _gaps(report["intervals"]["gaps"]),
    ]
    if any(row["n"] for row in report["unseen_categories"].values()):
        sections.append("## Whole categories unseen in training\n\n" + _methods(report["unseen_categories"]))
    sections.append(
        "## Binary contact by body part (paper Tab. S.2)\n\n"
        + markdown_table(
            ("part", "rows", "P", "R", "F1", "geo cm", "named P", "named R"),
            (
                (name, *_values(row, "rows precision recall f1 geodesic_cm named_precision named_recall"))
                for name, row in report["per_part"].items()
            ),
        )
    )
    for key, heading in _TITLES.items():
        if report[key]:
            sections.append(f"## {heading}\n\n" + _contact(report, key))
    sections.append("## Contact on objects (SIM, AUC, aIOU up; MAE down)\n\n" + _objects(report))
    sections.append("## Calibration of vertex probabilities\n\n" + _calibration(report["calibration"]))
    if report["failures"]["questions"]:
        reasons = "\n".join(f"- {reason}" for reason in report["failures"]["reasons"])
        sections.append(
            f"## Failures\n\n{report['failures']['questions']} questions failed, counted as no answer:\n\n{reasons}"
        )
    return "\n\n".join(sections) + "\n"


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """One table; numbers are printed with as many digits as they deserve, None as a dash."""
    lines = ["| " + " | ".join(heading) + " |", "|" + "|".join("---" for _ in heading) + "|"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _main(methods: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    rows = [
        (f"*{name}*", None, *_values(row, "f1 precision recall geodesic_cm"), *(None,) * 6)
        for name, row in beside["damon_binary"].items()
    ]
    rows += [
        (f"*{name}*", None, row["binary_f1"], None, None, None, row["semantic_f1"], *(None,) * 5)
        for name, row in beside["damon_generated"].items()
    ]
    rows += [
        (f"*{name}, 3DIR*", None, *_values(row, "f1 precision recall geodesic_cm"), *(None,) * 6)
        for name, row in beside["3dir_binary"].items()
    ]
    return (
        "Italic rows are published numbers, on DAMON unless they say 3DIR: of another data set than ours, unless this "
        "is it.\n\n" + markdown_table(_MAIN_HEADING, [*_main_rows(methods), *rows])
    )


_MAIN_HEADING = (
    *("method", "photos", "binary F1", "P", "R", "geo cm", "semantic F1", "left/right", "no contact"),
    *("object SIM", "AUC", "MAE"),
)


def _methods(methods: Mapping[str, Any]) -> str:
    return markdown_table(_MAIN_HEADING, _main_rows(methods))


def _main_rows(methods: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            row["n"],
            *_values(row["binary"], "f1 precision recall geodesic_cm"),
            row["semantic"]["f1"],
            row["left_right_acc"],
            row["no_contact_acc"],
            *_values(row["object"], "sim auc mae"),
        )
        for name, row in methods.items()
    ]


def _gaps(gaps: Mapping[str, Any]) -> str:
    columns = ("binary_f1", "semantic_f1", "semantic_f1_where_templates_vary")

    def shown(gap: Mapping[str, Any] | None) -> str:
        if gap is None:
            return "-"
        interval = gap["interval"]
        between = f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else ""
        return f"{100 * gap['mean']:+.1f}{between}"

    heading = ("over", "binary", "semantic", "semantic, where the interaction varies", "rows")
    return markdown_table(
        heading,
        (
            (name, *(shown(row[key]) for key in columns), (row[columns[1]] or row[columns[0]] or {}).get("rows"))
            for name, row in gaps.items()
        ),
    )


def _contact(report: Mapping[str, Any], key: str) -> str:
    heading = ["", "rows", "F1", "P", "R", "geo cm"]
    beside = report["published"]["damon_category_f1"] if key == "per_category" else {}
    rows = (
        (name, *_values(row, "rows f1 precision recall geodesic_cm"), *(other.get(name) for other in beside.values()))
        for name, row in report[key].items()
    )
    return markdown_table([*heading, *(f"*{name}: F1*" for name in beside)], rows)


def _objects(report: Mapping[str, Any]) -> str:
    rows: list[tuple[Any, ...]] = []
    for label, group, beside in (
        ("seen", "methods", "piad_seen"),
        ("unseen", "unseen_categories", "piad_unseen"),
    ):
        rows += [
            (f"{name}, {label}", *_values(row["object"], "rows sim auc aiou mae"))
            for name, row in report[group].items()
            if row["object"]["rows"]
        ]
        rows += [
            (f"*{name}, PIAD {label}*", None, *_values(row, "sim auc aiou mae"))
            for name, row in report["published"][beside].items()
        ]
    heading = ("", "rows", "SIM", "AUC", "aIOU", "MAE")
    parts = [markdown_table(heading, rows)]
    for key in ("per_affordance", "per_object"):
        if report["objects"][key]:
            parts.append(
                markdown_table(
                    heading,
                    ((name, *_values(row, "rows sim auc aiou mae")) for name, row in report["objects"][key].items()),
                )
            )
    return "\n\n".join(parts)


def _calibration(calibration: Mapping[str, Any]) -> str:
    rows = (
        (f"{entry['from']:.2f}-{entry['to']:.2f}", *_values(entry, "vertices probability in_contact"))
        for entry in calibration["bins"]
    )
    table = markdown_table(("bin", "vertices", "mean probability", "share in contact"), rows)
    return f"Expected calibration error {calibration['ece']:.4f}.\n\n{table}"


def _values(row: Mapping[str, Any], keys: str) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in keys.split())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
