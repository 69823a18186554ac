"""How much memory a stage takes at its highest: weights, gradients, AdamW's moments, activations, its teacher."""

from __future__ import annotations

from pmd_ray.plan.text_counts import TextCounts
from pmd_ray.plan.workload import Workload
from pmd_ray.spec.chunks import GROUP_TOKENS, RANKED, SCORE_BYTES, SCORE_CELLS, TABLE_BYTES, table_bytes

TRAINED_BYTES = 18
"""Of each weight of the student in fp32: itself, its gradient, two moments of AdamW (measured: 17 on a CPU)."""
FROZEN_BYTES = 4
SAVED_NUMBERS = 26
"""That a layer keeps of each token for the backward pass, in widths (counted in fp32: 18 without dropout, 23 to 27 with
it, as texts are longer; 17 by Korthikanti et al. 2022, 2205.05198, in half precision)."""
LOSS_MATRICES = 15
"""Of scores in fp32 that the losses hold at once, each of at most SCORE_CELLS numbers (counted at 4,096 queries)."""
PROCESS_BYTES = {"cpu": 700e6, "cuda": 1.5e9}
"""A process with torch and transformers loaded; on a GPU its context."""


def peak_memory(work: Workload, texts: TextCounts) -> float:
    """Bytes, resident on a CPU or on the GPU, estimated."""
    device, _, precision = work.device.partition("-")
    number = 2 if precision == "bf16" else 4
    batch = texts.batch(work.reading)
    kept = batch.tokens * work.sights
    if work.recomputes:  # the graph of one group at a time
        texts_of_group = work.micro_batch or batch.texts
        kept = min(kept, GROUP_TOKENS[device], texts_of_group * batch.tokens / max(batch.texts, 1.0))
    activations = kept * work.layers * work.width * SAVED_NUMBERS * number
    pairs = work.reading.batch**2  # each with a byte that says whether it may count
    activations += pairs + LOSS_MATRICES * 4 * min(pairs, SCORE_CELLS[device])
    # A ranking's vectors and a block of its scores; one worker on a CPU has a large table in a file.
    table = table_bytes(texts.sizes.entities, work.width)
    table = min(table, TABLE_BYTES) if device == "cpu" else table
    queries, entities = RANKED[device]
    ranked = table + queries * min(entities, texts.sizes.entities) * SCORE_BYTES
    return (
        PROCESS_BYTES[device]
        + work.weights * TRAINED_BYTES
        + work.teacher_weights * FROZEN_BYTES
        + max(activations, ranked)
    )
