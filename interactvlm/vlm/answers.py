"""Reading an answer's words: body parts and the affordance (paper, section 3; PIAD's and LEMON's vocabulary)."""

from __future__ import annotations

import re

from interactvlm.body.parts import PART_NAMES

__all__ = ["AFFORDANCES", "LEMON_AFFORDANCES", "PIAD_AFFORDANCES", "parse_affordance", "parse_parts"]

#: PIAD's 17 affordances, in its order.
PIAD_AFFORDANCES = (
    "grasp", "contain", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "display", "push",
    "listen", "wear", "press", "cut", "stab",
)  # fmt: skip
#: Those that only LEMON's data (3DIR) add.
LEMON_AFFORDANCES = ("pull", "ride", "play", "carry")
#: Everything a released model may have learned to say.
AFFORDANCES = PIAD_AFFORDANCES + LEMON_AFFORDANCES

# Whole words only: "left arm" must not be found in "left forearm", nor "grasp" in "wrapgrasp".
_PART = re.compile(r"\b(" + "|".join(PART_NAMES).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
_AFFORDANCE = re.compile(r"\b(" + "|".join(AFFORDANCES) + r")\b", re.IGNORECASE)
_AFFORDANCE_PHRASE = re.compile(r"\baffordance\s+type\s+is\b", re.IGNORECASE)


def parse_parts(text: str) -> tuple[str, ...]:
    """Body parts that `text` names, each once, in the text's order; unknown words are passed over."""
    found = (" ".join(match.group(1).lower().split()) for match in _PART.finditer(text))
    return tuple(dict.fromkeys(found))


def parse_affordance(text: str) -> str | None:
    """The affordance that `text` names, None when it names none.

    The word after "affordance type is" counts; without that phrase, the first known word.
    """
    phrase = _AFFORDANCE_PHRASE.search(text)
    if phrase is not None:
        # Up to the next clause: ", and the contact region is ..." says nothing about the type.
        text = re.split(r"[,.;\[]", text[phrase.end() :], maxsplit=1)[0]
    match = _AFFORDANCE.search(text)
    return match.group(1).lower() if match else None
