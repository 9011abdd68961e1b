"""How often nano's greedy answers keep the fitted format, on pictures and object names it was not fitted on.

    python tools/check_nano_format.py [PHOTO ...]

Prints one JSON object. It counts form, not truth: whether an answer ends in the contact token within 48 tokens, and
whether its words parse as body parts or an affordance.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from nano_format_data import HELD_OUT_OBJECTS, draw_picture
from numpy.typing import NDArray
from PIL import Image

from interactvlm.types import ContactAnswer, Question, Task
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.nano import assemble

LONGEST_ANSWER = 48
#: Pictures are drawn from these seeds on; fitting uses those from 0.
FIRST_SEED = 1000


def main() -> None:
    """Ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, help="photographs to ask about as well")
    parser.add_argument("--pictures", type=int, default=8)
    options = parser.parse_args()
    pictures: list[NDArray[np.uint8]] = [draw_picture(FIRST_SEED + i) for i in range(options.pictures)]
    pictures += [np.asarray(Image.open(path).convert("RGB")) for path in options.photos]
    model = ContactVLM.from_folder(assemble())
    asked: list[tuple[Question, ContactAnswer]] = []
    for number, picture in enumerate(pictures):
        questions = [Question(Task.BINARY), Question(Task.SCENE)]
        for i in range(3):
            name = HELD_OUT_OBJECTS[(3 * number + i) % len(HELD_OUT_OBJECTS)]
            questions += [Question(Task.SEMANTIC, name), Question(Task.OBJECT, name)]
        answers = model.answer([picture], [questions], max_new_tokens=LONGEST_ANSWER)[0]
        asked.extend(zip(questions, answers, strict=True))
        print(f"{number + 1}/{len(pictures)}: {answers[2].text} | {answers[3].text}", file=sys.stderr)
    ended = [answer.token is not None for _, answer in asked]
    parsed = [bool(answer.parts or answer.affordance) for _, answer in asked]
    failures = [answer.text for (_, answer), good in zip(asked, ended, strict=True) if not good]
    print(
        json.dumps(
            {
                "answers": len(asked),
                "ends_in_contact_token": sum(ended) / len(asked),
                "names_parts_or_affordance": sum(parsed) / len(asked),
                "longest_answer_tokens": max(answer.generated_tokens for _, answer in asked),
                "failures": failures,
            }
        )
    )


if __name__ == "__main__":
    main()
