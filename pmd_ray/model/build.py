"""Builds a grade's towers: chosen layers of the pretrained encoder, of its teacher, or of another model."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from pmd_ray.model.bi_encoder import BiEncoder
from pmd_ray.model.source import Source, build_tower
from pmd_ray.spec import plugins
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import EncoderError, SpecError
from pmd_ray.spec.grade import GradeConfig

Sample = tuple[Tensor, Tensor, Tensor]
"""Ids, segments and attention [R, L] of a few texts, for layer maps that look at what layers do."""


def build_student(
    grade: GradeConfig,
    encoder: EncoderConfig,
    source: Source,
    *,
    teacher: BiEncoder | None,
    sample: Callable[[], Sample],
) -> BiEncoder:
    """A bi-encoder whose layers are copied as the grade's `init` says.

    Raises:
        SpecError: the source has fewer layers than asked for, or is narrower.
    """
    origin = teacher if grade.init.source == "teacher" else None
    towers = {}
    for role in ("hr", "tail") if encoder.towers == "separate" else ("hr",):
        config, weights = _origin(source, None if origin is None else getattr(origin, role))
        towers[role] = _shallow_tower(grade, config, weights, sample)
    model = BiEncoder(
        towers["hr"],
        towers.get("tail", towers["hr"]),
        pooling=encoder.pooling,
        temperature=grade.loss.ce.temperature.init,
        learnt=grade.loss.ce.temperature.learnt,
    )
    if origin is not None and grade.loss.ce.temperature.learnt:
        model.log_inverse_t.data.copy_(origin.log_inverse_t.data)
    if encoder.dropout is not None:
        model.set_dropout(encoder.dropout)
    return model


def _origin(source: Source, tower: nn.Module | None) -> tuple[Any, dict[str, Tensor]]:
    if tower is None:
        return source.config, source.weights
    return tower.config, dict(tower.state_dict())


def _shallow_tower(
    grade: GradeConfig, config: Any, weights: dict[str, Tensor], sample: Callable[[], Sample]
) -> nn.Module:
    chosen = chosen_layers(grade, config, weights, sample)
    config = copy.deepcopy(config)
    config.num_hidden_layers = len(chosen)
    kept = {key: value for key, value in weights.items() if not key.startswith("encoder.layer.")}
    for place, layer in enumerate(chosen):
        before = f"encoder.layer.{layer}."
        kept |= {
            key.replace(before, f"encoder.layer.{place}.", 1): weights[key] for key in weights if key.startswith(before)
        }
    if grade.init.width is not None and grade.init.width != config.hidden_size:
        config, kept = narrowed(config, kept, grade.init.width, where=f"grades.{grade.name}.init.width")
    tower = build_tower(config)
    missing, unexpected = tower.load_state_dict(kept, strict=False)
    # Position ids are buffers that some versions save and others do not.
    lost = [key for key in [*missing, *unexpected] if not key.endswith(("position_ids", "token_type_ids"))]
    if lost:
        raise EncoderError(f"the encoder's weights do not fit its layers: {', '.join(lost[:5])}")
    return tower


def chosen_layers(
    grade: GradeConfig, config: Any, weights: dict[str, Tensor], sample: Callable[[], Sample]
) -> Sequence[int]:
    """The source's layers that a grade copies.

    Raises:
        SpecError: the source has too few.
    """
    depth = int(config.num_hidden_layers)
    wanted = grade.init.layer_map
    if not isinstance(wanted, str):
        if max(wanted) >= depth:
            raise SpecError(
                "chain",
                [f"grades.{grade.name}.init.layer_map: layers are 0 to {depth - 1} in the source, got {list(wanted)}"],
            )
        return wanted
    if grade.layers > depth:
        raise SpecError(
            "chain",
            [f"grades.{grade.name}.layers: at most the source's {depth} layers can be copied, got {grade.layers}"],
        )

    def similarity() -> Sequence[float]:
        return layer_similarity(config, weights, sample())

    layers: list[int] = plugins.load("layer map", wanted).choose(depth, grade.layers, similarity)
    return layers


@torch.inference_mode()
def layer_similarity(config: Any, weights: dict[str, Tensor], sample: Sample) -> list[float]:
    """For each layer the mean cosine of its input and output over the real tokens of a few texts."""
    tower = build_tower(config)
    tower.load_state_dict(weights, strict=False)
    tower.eval()
    ids, segments, attended = sample
    states = tower(
        input_ids=ids, token_type_ids=segments, attention_mask=attended, output_hidden_states=True
    ).hidden_states
    real = attended.bool()
    pairs = itertools.pairwise(states)
    return [float(cosine_similarity(before[real], after[real], dim=-1).mean()) for before, after in pairs]


def narrowed(config: Any, weights: dict[str, Tensor], width: int, *, where: str) -> tuple[Any, dict[str, Tensor]]:
    """Keep the leading `width` hidden dimensions, whole heads, and the same share of the feed-forward part.

    Raises:
        SpecError: wider than the source, or no whole number of its heads.
    """
    old, head = int(config.hidden_size), int(config.hidden_size // config.num_attention_heads)
    if width > old or width % head:
        raise SpecError("chain", [f"{where}: must be a multiple of {head} (one head) up to {old}, got {width}"])
    config = copy.deepcopy(config)
    inner_old = int(config.intermediate_size)
    inner = inner_old * width // old
    config.hidden_size, config.num_attention_heads, config.intermediate_size = width, width // head, inner
    sizes = {old: width, inner_old: inner}

    def cut(key: str, value: Tensor) -> Tensor:
        # Tables are indexed by word, position or segment in their first dimension: these stay.
        first = 1 if key.startswith("embeddings.") and value.dim() == 2 else 0
        for dim in range(first, value.dim()):
            value = value.narrow(dim, 0, sizes.get(value.shape[dim], value.shape[dim]))
        return value.clone()

    return config, {key: cut(key, value) if value.is_floating_point() else value for key, value in weights.items()}
