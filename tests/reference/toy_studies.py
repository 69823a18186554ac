"""Every shipped ablation at toy size: what to say after `--set` so that it runs in seconds on a tiny graph."""

from __future__ import annotations

from pathlib import Path

DEPTH = 3
"""Layers of the encoder."""
SMALL = (
    "dataset.text.max_tokens=20",
    f"encoder={{name: scratch, dropout: 0.0, scratch: {{layers: {DEPTH}, width: 16, heads: 2, vocabulary: 200}}}}",
    "optimiser.steps_per_epoch=2",
    "optimiser.batch=8",
    "optimiser.micro_batch=4",
    "optimiser.lr=1e-3",
    "select.valid_triples=4",
)
"""Of any chain."""
COMMON = (*SMALL, "optimiser.epochs=1", "seeds=[0]")
LAST = "compare=[{grade: last}]"
"""In place of questions that name depths."""
OWN: dict[str, tuple[str, ...]] = {
    "quickstart": (
        "layers=[2, 2, 1]",
        "variants.layers_6_3_2.layers=[2, 1, 1]",
        "grades.teacher.optimiser.steps_per_epoch=2",
    ),
    "paper_table3": ("layers=[2, 2, 1]",),
    "paper_table4": ("layers=[2, 2, 1]",),
    "paper_figure2": ("layers=[2, 2, 1]",),
    "paper_figure3": ("layers=[1, 1]",),
    "mask_schedules": (
        "layers=[2, 2, 1]",
        "variants.masks_30_15_10_0.mask_rates=[0.3, 0.1]",
        "variants.masks_20_10_0.mask_rates=[0.2, 0.1]",
        "variants.reversed.mask_rates=[0.0, 0.2]",
    ),
    "layer_schedules": (
        "layers=[3, 3, 2, 1]",
        "variants.layers_10_8_6_4.layers=[3, 2, 1]",
        "variants.layers_12_10_8_6_4.layers=[3, 3, 2, 2, 1]",
        "variants.layers_12_6_3.layers=[3, 3, 1]",
        "variants.layers_12_8_4.layers=[3, 3, 2]",
        "variants.layers_12_9_3.layers=[3, 2, 2]",
        "variants.direct.layers=[3, 1]",
        LAST,
    ),
    "no_progressive": ("layers=[2, 2, 2, 1]",),
    "mgfd_factorial": ("layers=[2, 2, 1]",),
    "student_init": ("layers=[3, 2, 1]",),
    "paper_set": (
        "layers=[2, 2, 2, 1]",
        "variants.no_progressive_from_baseline.layers=[2, 2, 1]",
        "variants.masks_30_15_10_0.mask_rates=[0.3, 0.15, 0.0]",
        "variants.layers_12_10_8_6_4.layers=[2, 2, 2, 1, 1]",
        "variants.layers_12_6_3.layers=[2, 2, 1]",
        "variants.layers_12_8_4.layers=[2, 2, 1, 1]",
        "variants.layers_12_9_3.layers=[2, 2, 2]",
        LAST,
    ),
}
"""By file; every shipped one is here."""


def toy_overrides(study: str, graph: Path) -> list[str]:
    """All that is said after `--set` for a shipped study.

    Args:
        graph: A folder in the canonical layout, such as `tiny.write_graph` makes.
    """
    return [f"dataset.source={graph}", *COMMON, *OWN[study]]
