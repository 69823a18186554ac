"""Two text towers, unit vectors, and a temperature (SimKGC, section 3.2; the shape of every teacher and student)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls"]


class BiEncoder(nn.Module):
    """A query tower, an entity tower (or one for both) and log(1/t).

    Towers are Hugging Face encoders without poolers: these take part in no loss and would only break data parallelism.
    """

    def __init__(self, hr: nn.Module, tail: nn.Module, *, pooling: Pooling, temperature: float, learnt: bool) -> None:
        super().__init__()
        self.hr = hr
        self.tail = tail
        self.pooling: Pooling = pooling
        self.log_inverse_t = nn.Parameter(torch.tensor(math.log(1.0 / temperature)), requires_grad=learnt)

    @property
    def shared(self) -> bool:
        """Whether one tower encodes both queries and entities."""
        return self.hr is self.tail

    @property
    def towers(self) -> dict[str, nn.Module]:
        """The distinct towers by name."""
        return {"hr": self.hr} if self.shared else {"hr": self.hr, "tail": self.tail}

    @property
    def config(self) -> Any:
        """The towers' Hugging Face configuration."""
        return self.hr.config

    @property
    def layers(self) -> int:
        """Transformer layers of each tower."""
        return int(self.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Hidden size D."""
        return int(self.config.hidden_size)

    @property
    def inverse_t(self) -> Tensor:
        """1 / t, what cosines are multiplied by."""
        return self.log_inverse_t.exp()

    def parameter_count(self) -> int:
        """Weights of the distinct towers, without the temperature."""
        return sum(weight.numel() for tower in self.towers.values() for weight in tower.parameters())

    def embedding_count(self) -> int:
        """Weights of the distinct towers' embedding tables and their LayerNorm."""
        tables = (tower.get_submodule("embeddings") for tower in self.towers.values())
        return sum(weight.numel() for table in tables for weight in table.parameters())

    def set_dropout(self, probability: float) -> None:
        """Set every dropout of both towers, those inside attention too."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability
        for tower in self.towers.values():
            config: Any = tower.config
            config.hidden_dropout_prob = config.attention_probs_dropout_prob = probability


def word_module(tower: nn.Module) -> nn.Embedding:
    """Where a tower keeps its word vectors."""
    getter: Any = tower
    module: nn.Embedding = getter.get_input_embeddings()
    return module


def word_weights(tower: nn.Module) -> nn.Parameter:
    """The table of word vectors [vocabulary, D], or [W, D] while those that are used are trained apart."""
    module: Any = word_module(tower)
    weight: nn.Parameter = module.weight
    return weight


def word_places(tower: nn.Module, word_ids: Tensor) -> Tensor:
    """The rows of that table in which words stand; see `model.used_words`."""
    places: Tensor | None = getattr(word_module(tower), "places", None)
    return word_ids if places is None else places[word_ids]
