"""Counts a model's weights from its configuration alone: for tables and plans before anything is loaded."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch

from pmd_ray.model.source import build_tower


def parameter_count(config: Any, layers: int, towers: Literal["separate", "shared"] = "separate") -> int:
    """Weights of a bi-encoder of so many layers, without poolers and without the temperature.

    Args:
        config: A Hugging Face configuration of a BERT-like encoder.
        layers: Transformer layers of each tower, whatever the configuration says.
        towers: Two sets of weights or one.
    """
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    # Shapes without storage: BERT-base costs neither memory nor time.
    with torch.device("meta"):
        tower = build_tower(config)
    return (2 if towers == "separate" else 1) * sum(weight.numel() for weight in tower.parameters())


def pooler_count(config: Any, towers: Literal["separate", "shared"] = "separate") -> int:
    """Weights of the poolers that the released code builds and never uses (PMD's published counts include them)."""
    width = int(config.hidden_size)
    return (2 if towers == "separate" else 1) * (width * width + width)
