from __future__ import annotations

import json
import sys

import pytest

from benchmarks.contact import main


def test_both_schedules_give_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["contact", "--json", "--quick"])
    main()
    result = json.loads(capsys.readouterr().out)
    assert {"reference_s", "ours_s", "ratio", "max_abs_diff", "peak_mib", "cases"} <= result.keys()
    assert result["max_abs_diff"] <= 1e-4
    (case,) = result["cases"]["tiny"]
    assert case["same_texts"]
    assert case["with_contact_token"] == case["questions"] == 1
