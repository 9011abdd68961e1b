"""Adam over many independent problems, of which some may end early (Kingma and Ba, 2015).

torch.optim keeps its state by parameter tensor; here scenes leave and starts are dropped along the way, and their
state must follow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from interactvlm.fitting.poses import PARAMETERS

__all__ = ["Descent"]

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8
_SLOWER = 0.5
"""Step of translation (metres) and log scale over that of the rotation's numbers."""


class Descent:
    """S x K problems of `poses.PARAMETERS` numbers, each with the best point it has seen.

    Args:
        parameters: [S, K, 10], where to start.

    Attributes:
        parameters: [S, K, 10], where it is.
        best: [S, K, 10], the point of least energy so far.
        best_energy: [S, K], its energy; infinite before the first step.
    """

    def __init__(self, parameters: Tensor) -> None:
        self.parameters = parameters.detach().clone()
        self.best = self.parameters.clone()
        self.best_energy = torch.full(parameters.shape[:2], torch.inf, dtype=parameters.dtype, device=parameters.device)
        self._mean = torch.zeros_like(self.parameters)
        self._square = torch.zeros_like(self.parameters)
        self._steps = 0
        self._rates = parameters.new_tensor([1.0] * 6 + [_SLOWER] * (PARAMETERS - 6))

    @property
    def starts(self) -> int:
        """K."""
        return self.parameters.shape[1]

    def step(self, energy: Tensor, gradient: Tensor, rate: float) -> None:
        """Remember what is best, and go one step down.

        Args:
            energy: [S, K], at `parameters`.
            gradient: [S, K, 10], there; what is not finite counts as 0.
            rate: step length.
        """
        here = self.parameters.detach()
        better = energy < self.best_energy
        self.best = torch.where(better[..., None], here, self.best)
        self.best_energy = torch.where(better, energy, self.best_energy)
        gradient = torch.where(gradient.isfinite(), gradient, 0)
        self._steps += 1
        self._mean = _BETAS[0] * self._mean + (1 - _BETAS[0]) * gradient
        self._square = _BETAS[1] * self._square + (1 - _BETAS[1]) * gradient.square()
        mean = self._mean / (1 - _BETAS[0] ** self._steps)
        square = self._square / (1 - _BETAS[1] ** self._steps)
        self.parameters = here - rate * self._rates * mean / (square.sqrt() + _EPSILON)

    def select(self, scenes: Tensor) -> Descent:
        """Only these scenes: int64 [A]."""
        return self._mapped(lambda values: values[scenes])

    def keep(self, starts: Tensor) -> Descent:
        """Only these starts of each scene: int64 [S, J], in this order."""
        scenes = torch.arange(len(starts), device=starts.device)[:, None]
        return self._mapped(lambda values: values[scenes, starts])

    def _mapped(self, pick: Callable[[Tensor], Tensor]) -> Descent:
        other = Descent(pick(self.parameters.detach()))
        other.best, other.best_energy = pick(self.best), pick(self.best_energy)
        other._mean, other._square, other._steps = pick(self._mean), pick(self._square), self._steps
        return other
