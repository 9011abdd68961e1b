"""The stage: one person, the things they deal with, and the dice."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interactvlm.objects.anchors import ObjectModel
from interactvlm.synthesis.actor import Actor
from interactvlm.synthesis.prop import Prop

__all__ = ["Fetch", "Missed", "Stage", "stable_seed"]

Array = NDArray[np.float64]

#: Category -> one of its objects, or None where there is none.
Fetch = Callable[[str, np.random.Generator], ObjectModel | None]


_INSTANCES = 5  # of one category that are looked at for the anchors needed


class Missed(Exception):  # noqa: N818 -- not an error: the next throw of the dice may succeed
    """This throw of the dice does not work out: out of reach, or pierced."""


def stable_seed(*parts: object) -> int:
    """A seed that depends on nothing but the parts' text."""
    return zlib.crc32("\x1f".join(str(part) for part in parts).encode())


@dataclass(eq=False)
class Stage:
    """What a template plays on.

    Attributes:
        actor: the main person.
        rng: the dice.
        fetch: where objects come from.
        props: what the person deals with, in order of importance.
        tags: facts about the scene.
        soft: props (by place in `props`) whose contact counts within the soft distance.
    """

    actor: Actor
    rng: np.random.Generator
    fetch: Fetch
    props: list[Prop] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    soft: set[int] = field(default_factory=set)

    def bring(
        self, categories: Sequence[str], template: str, affordance: str, *anchors: str, soft: bool = False
    ) -> Prop:
        """Fetch an object of one of the categories that has the anchors, as the next prop.

        Raises:
            Missed: when there is none.
        """
        for place in self.rng.permutation(len(categories)):
            for _ in range(_INSTANCES):
                model = self.fetch(categories[place], self.rng)
                if model is None:
                    break
                if all(name in model.anchors for name in anchors):
                    prop = Prop(model, template=template, affordance=affordance)
                    if soft:
                        self.soft.add(len(self.props))
                    self.props.append(prop)
                    return prop
        raise Missed(f"nothing with {', '.join(anchors)}")

    def uniform(self, low: float, high: float) -> float:
        """One throw."""
        return float(self.rng.uniform(low, high))

    def normal(self, mean: float, spread: float) -> float:
        """One throw, within two spreads."""
        return float(mean + spread * np.clip(self.rng.standard_normal(), -2, 2))

    def chance(self, probability: float) -> bool:
        """Heads."""
        return bool(self.rng.random() < probability)

    def choose(self, options: Sequence[str]) -> str:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]
