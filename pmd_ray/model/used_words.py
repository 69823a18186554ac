"""The word vectors that a graph's texts use, trained apart from those that they do not.

A batch gives no gradient to a word that no text has, and all that AdamW does to its vector is to decay it, the same for
all of them. So the optimiser gets a table of the used words alone: no gradient, no moments, no exchange between workers
for the rest. Their decay is one factor, applied where somebody else looks at the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pmd_ray.model.bi_encoder import BiEncoder, word_module, word_weights
from pmd_ray.spec.ragged import Ints


@dataclass(frozen=True)
class _Table:
    module: nn.Module
    """With the attributes `weight`, and `places` while the used words are apart."""
    whole: nn.Parameter
    """[vocabulary, D]"""
    used: nn.Parameter
    """[W, D]"""


class UsedWords:
    """Keeps the tables of a model's used words in place of the whole ones, but for `with words.whole(): ...`.

    Args:
        model: Its towers' word modules are changed.
        used: [W] words, rising; None trains them all.
    """

    def __init__(self, model: BiEncoder, used: Ints | None) -> None:
        self.pending = 1.0
        """What the other vectors are still to be multiplied by."""
        self._tables: list[_Table] = []
        if used is None:
            return
        first = word_weights(model.hr)
        self._used = torch.as_tensor(used, dtype=torch.long, device=first.device)
        rest = torch.ones(len(first), dtype=torch.bool, device=first.device)
        rest[self._used] = False
        self._others = rest.nonzero().squeeze(1)
        self._places = torch.full((len(first),), -1, dtype=torch.long, device=first.device)
        self._places[self._used] = torch.arange(len(self._used), device=first.device)
        for tower in model.towers.values():
            whole = word_weights(tower)
            rows = nn.Parameter(whole.detach()[self._used], requires_grad=whole.requires_grad)
            self._tables.append(_Table(word_module(tower), whole, rows))
        self._take()

    def decayed(self, factor: float) -> None:
        """An update has multiplied all vectors by that, before it added its own."""
        self.pending *= factor

    @contextmanager
    def whole(self, *, settle: bool) -> Iterator[None]:
        """The model as others know it; what they load into it counts.

        Args:
            settle: Also decay the other vectors. Always at the same steps, or the last bit of them will differ.
        """
        for table in self._tables:
            with torch.no_grad():
                table.whole[self._used] = table.used
            self._show(table, table.whole, None)
        if settle:
            self._settle()
        try:
            yield
        finally:
            self._take()

    def _settle(self) -> None:
        if self.pending != 1.0:
            for table in self._tables:
                with torch.no_grad():
                    table.whole[self._others] *= self.pending
        self.pending = 1.0

    def _take(self) -> None:
        for table in self._tables:
            with torch.no_grad():
                table.used.copy_(table.whole[self._used])
            self._show(table, table.used, self._places)

    @staticmethod
    def _show(table: _Table, weight: nn.Parameter, places: Tensor | None) -> None:
        table.module.weight = weight
        table.module.places = places  # type: ignore[assignment]
