"""Exports a model for use without this project: two Hugging Face encoders, an entity table, a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

from pmd_ray.kg.graph import Graph
from pmd_ray.model.folder import CARD, TrainedModel
from pmd_ray.spec.errors import UserError
from pmd_ray.train.checkpoint import whole_folder
from pmd_ray.train.evaluate import Tick, no_tick
from pmd_ray.train.use import entity_vectors, find_model
from pmd_ray.train.workshop import open_texts

ENTITIES = "entities.parquet"

CARD_TEXT = """\
---
library_name: transformers
tags: [knowledge-graph-completion, pmd, distillation]
---
# {{ card.encoder.name }}, {{ card.layers }} layers, distilled for {{ card.dataset }}

A bi-encoder for knowledge graph completion (PMD, arXiv 2401.12997): `hr/` encodes a query, `{{ tail }}/` an entity.
The score of an entity is the cosine of the two vectors.

| | |
|---|---|
| trained on | {{ card.dataset }} (fingerprint `{{ card.dataset_fingerprint[:16] }}`) |
| layers of each tower | {{ card.layers }} |
| pooling | {{ card.encoder.pooling }} |
| temperature at the end | {{ "%.4f"|format(card.temperature) }} |
| stage key | `{{ card.stage_key }}` |
{% for name, value in card.training.items() %}| {{ name.replace("_", " ") }} | {{ value }} |
{% endfor %}
Figures are filtered, both directions, ties as the mean rank; the test split took no part in any choice.

## Use in plain transformers

Query text: `name: description` as first and the relation (or `inverse ...`) as second segment, at most
{{ card.text.max_tokens }} tokens. Entity text: `name: description`.

```python
import pyarrow.parquet as pq, torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("hr")
tower = AutoModel.from_pretrained("hr", add_pooling_layer=False).eval()
texts = "{{ example.head }}", "{{ example.relation }}"
query = tokenizer(*texts, truncation=True, max_length={{ card.text.max_tokens }}, return_tensors="pt")
with torch.inference_mode():
    states = tower(**query).last_hidden_state
    {{ pooling }}
vector = torch.nn.functional.normalize(vector, dim=-1)
table = pq.read_table("entities.parquet")
entities = torch.tensor(table["vector"].to_pylist())
best = (entities @ vector[0]).topk(10)
print([(table["name"][i].as_py(), round(s, 3)) for s, i in zip(best.values.tolist(), best.indices.tolist())])
```
"""
POOLING_CODE = {
    "mean": 'mask = query["attention_mask"][..., None]\n    vector = (states * mask).sum(1) / mask.sum(1)',
    "cls": "vector = states[:, 0]",
}


def export(
    place: Path, model: TrainedModel, graph: Graph, out: Path, *, cache: Path | None = None, tick: Tick = no_tick
) -> Path:
    """Write `out`: `hr/` and `tail/`, `entities.parquet` (id, name, vector), `README.md`, `pmd.json`.

    Raises:
        UserError: `out` exists and is not empty.
        ModelError: there is no model at `place`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another folder")
    folder = find_model(place)
    texts = open_texts(graph, model.wordpieces, model.card.text, cache)
    vectors = entity_vectors(model, graph, texts, cache=cache, tick=tick)
    with whole_folder(out.absolute()) as aside:
        for found in sorted(folder.iterdir()):
            if found.is_dir():
                shutil.copytree(found, aside / found.name)
            elif found.name == CARD:
                shutil.copy2(found, aside / CARD)
        _write_entities(aside / ENTITIES, graph, vectors.cpu().numpy())
        head = texts.entity_string(int(graph.train[0, 0]))
        example = {"head": _quoted(head), "relation": _quoted(graph.relation_texts[graph.train[0, 1]])}
        (aside / "README.md").write_text(model_card(model, example), encoding="utf-8")
    return out


def model_card(model: TrainedModel, example: dict[str, str]) -> str:
    """The README of an exported model."""
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    tail = "tail" if model.card.encoder.towers == "separate" else "hr"
    return environment.from_string(CARD_TEXT).render(
        card=model.card, tail=tail, example=example, pooling=POOLING_CODE[model.card.encoder.pooling]
    )


def _quoted(text: str) -> str:
    """Inside a Python string of the card: a graph's text is data."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _write_entities(path: Path, graph: Graph, vectors: Any) -> None:
    width = vectors.shape[1]
    columns = {
        "id": pa.array(graph.entity_ids),
        "name": pa.array(graph.entity_names),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), width),
    }
    pq.write_table(pa.table(columns), path)
