"""One grade of the chain: its layers, its teacher, its mask, losses and optimiser."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from pmd_ray.spec import plugins
from pmd_ray.spec.base import Frozen
from pmd_ray.spec.loss import LossConfig
from pmd_ray.spec.mask import MaskConfig
from pmd_ray.spec.optimiser import OptimiserConfig, SelectConfig


class InitConfig(Frozen):
    """What a grade's weights start from (method factors init.*, hidden.width)."""

    source: str = Field(default="encoder", min_length=1)
    """`encoder`: the pretrained encoder of the chain; `teacher`: the grade's own teacher; else another BERT-like model
    by name or folder (Turc et al. 2019). Source: PMD, 4.1, and released code (encoder, even for 6 -> 3)."""
    layer_map: str | tuple[int, ...] = "paper"
    """Which layers are copied, by name (a file of `model/layer_maps`) or as a list counted from 0. `paper` is
    uniform but for 12 -> 9, 6, 3. Source: a comment of the released config (paper)."""
    width: int | None = Field(default=None, ge=8)
    """Hidden size where it is to be smaller than the source's: leading dimensions are kept. Source: PMD keeps 768."""

    @field_validator("layer_map")
    @classmethod
    def _layer_map_exists(cls, layer_map: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if isinstance(layer_map, str):
            plugins.load("layer map", layer_map)
        elif list(layer_map) != sorted(set(layer_map)) or min(layer_map, default=0) < 0:
            raise ValueError(f"a list of layers must rise and start at 0 or later, got {list(layer_map)}")
        return layer_map


class GradeConfig(Frozen):
    """One training of the chain."""

    name: str = Field(min_length=1, max_length=60)
    """How overrides, folders and tables call it: `teacher`, or a student's number of layers."""
    layers: int = Field(ge=1)
    """Transformer layers of each tower."""
    teacher: str = "previous"
    """By name (a file of `spec/teacher_choices`), or an earlier grade's name. Source: PMD, 3.3 (previous)."""
    mask: MaskConfig = MaskConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    init: InitConfig = InitConfig()
    select: SelectConfig = SelectConfig()

    @field_validator("name")
    @classmethod
    def _name_is_a_word(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError(f"must be letters, digits, '_' and '-' (it names a folder), got '{name}'")
        return name

    @model_validator(mode="after")
    def _explicit_layers_fit(self) -> GradeConfig:
        chosen = self.init.layer_map
        if not isinstance(chosen, str) and len(chosen) != self.layers:
            raise ValueError(f"init.layer_map names {len(chosen)} layers, the grade has {self.layers}")
        return self
