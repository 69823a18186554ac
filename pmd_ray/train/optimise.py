"""AdamW with warm-up and decay; the learning rate is a function of the step, so resuming needs no scheduler state."""

from __future__ import annotations

import math

import torch
from torch import nn

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.spec.optimiser import OptimiserConfig

UNCERTAINTY_LR = 1e-3
"""Peak learning rate of learnt loss weights (Kendall et al. 2018)."""


def make_optimiser(model: BiEncoder, objective: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Weights with decay, weights without, the temperature, and what the losses learn themselves.

    The released code decays LayerNorm, biases and the temperature too (method notes, C22); `decay_everything` keeps it.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for tower in model.towers.values():
        for weight in tower.parameters():
            (decayed if weight.dim() > 1 or config.decay_everything else plain).append(weight)
    (decayed if config.decay_everything else plain).append(model.log_inverse_t)
    uncertainties = [weight for name, weight in objective.named_parameters() if name == "log_variance"]
    projectors = [weight for name, weight in objective.named_parameters() if name != "log_variance"]
    groups = [
        {"params": decayed + projectors, "weight_decay": config.weight_decay, "peak": config.lr},
        {"params": plain, "weight_decay": 0.0, "peak": config.lr},
        {"params": uncertainties, "weight_decay": 0.0, "peak": UNCERTAINTY_LR},
    ]
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=config.lr, fused=True)


class Schedule:
    """The learning rate's factor at each step, in [0, 1]."""

    def __init__(self, config: OptimiserConfig, steps_per_epoch: int) -> None:
        self.total = steps_per_epoch * (config.schedule_epochs or config.epochs)
        self._kind = config.schedule
        # What may be continued must not begin otherwise because it is longer.
        capped = steps_per_epoch if self._kind == "wsd" else self.total
        self.warmup = min(config.warmup_steps, int(capped * config.warmup_share))
        self._decay = min(round(self.total * config.decay_share), self.total - self.warmup)

    def factor(self, step: int) -> float:
        """The factor of the update after `step` updates: 0 first where there is a warm-up, as in SimKGC."""
        if step < self.warmup:
            return step / self.warmup
        if self._kind == "wsd":
            return min(1.0, max(0, self.total - step) / self._decay) if self._decay else 1.0
        share = (step - self.warmup) / max(1, self.total - self.warmup)
        if self._kind == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
        return max(0.0, 1.0 - share)

    def apply(self, optimiser: torch.optim.Optimizer, step: int) -> float:
        """Set every group's learning rate for an update; returns the encoder's."""
        factor = self.factor(step)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        return float(optimiser.param_groups[0]["lr"])
