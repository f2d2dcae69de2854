"""The moving average of what a run learns: the weights that it shows and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averages of parameters, by name, each where its parameter is and split like it.

    After step n (from 1) the decay is min(`decay`, (1 + n) / (10 + n)), so that a run's first weights are soon forgotten.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.parameters, self.decay = parameters, decay
        self.weights: dict[str, Tensor] = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in what step `step` learned."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.parameters.items():
            self.weights[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The model with its averaged weights, for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """One by one: a second copy of a large model may not fit."""
        for name, parameter in self.parameters.items():
            trained = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(trained)
