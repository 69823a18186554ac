"""What `pmd data show` tells: a graph in figures and samples, or one entity with its texts and triples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pmd_ray.cli.output import print_table, say, warn
from pmd_ray.spec.errors import UserError

if TYPE_CHECKING:
    from pmd_ray.kg.graph import Graph, Split

RELATIONS_SHOWN = 20
"""Rows of the relation table; `--json` has all."""


def summary(graph: Graph, *, triples: int) -> dict[str, Any]:
    """Counts, the relations (most frequent in train first), `triples` training triples spread over the file."""
    import numpy as np

    from pmd_ray.kg.graph import SPLITS

    relations = graph.num_relations
    counts = {split: np.bincount(graph.triples(split)[:, 1], minlength=relations).tolist() for split in SPLITS}
    order = sorted(range(relations), key=lambda relation: -counts["train"][relation])
    spread = np.linspace(0, len(graph.train) - 1, num=min(triples, len(graph.train))).astype(int).tolist()
    return {
        "name": graph.name,
        "fingerprint": graph.fingerprint,
        "entities": graph.num_entities,
        "triples": {split: len(graph.triples(split)) for split in SPLITS},
        "relations": [
            {"id": graph.relation_ids[r], "text": graph.relation_texts[r]}
            | {split: counts[split][r] for split in SPLITS}
            for r in order
        ],
        "sample": [_triple(graph, "train", row) for row in spread],
        "warnings": list(graph.warnings),
    }


def entity(graph: Graph, wanted: str, *, triples: int) -> dict[str, Any]:
    """An entity, asked for by id or by name: its texts, how many triples it has, the first `triples` of them."""
    import numpy as np

    from pmd_ray.kg.graph import SPLITS

    number = find_entity(graph, wanted)
    places = [
        (split, row)
        for split in SPLITS
        for row in np.flatnonzero((graph.triples(split)[:, [0, 2]] == number).any(axis=1)).tolist()
    ]
    return {
        "id": graph.entity_ids[number],
        "name": graph.entity_names[number],
        "description": graph.entity_descriptions[number],
        "num_triples": len(places),
        "triples": [_triple(graph, split, row) for split, row in places[:triples]],
    }


def find_entity(graph: Graph, wanted: str) -> int:
    """The number of the entity with this id, else with this name (in any case); UserError where none or several."""
    from pmd_ray.kg.catalog import nearest_name

    if wanted in graph.entity_index:
        return graph.entity_index[wanted]
    folded = wanted.casefold()
    named = [number for number, name in enumerate(graph.entity_names) if name.casefold() == folded]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(graph.entity_ids[number] for number in named[:10])
        more = f" and {len(named) - 10} more" if len(named) > 10 else ""
        raise UserError(f"{len(named)} entities of {graph.name} are named '{wanted}'; give one by its id: {ids}{more}")
    hint = nearest_name(wanted, graph.entity_names) or nearest_name(wanted, graph.entity_ids)
    raise UserError(f"no entity of {graph.name} has the id or name '{wanted}'{hint}")


def draw_summary(told: dict[str, Any]) -> None:
    """Print what `summary` found."""
    sizes = ", ".join(f"{count:,} {split}" for split, count in told["triples"].items())
    relations = told["relations"]
    say(f"{told['name']}: {told['entities']:,} entities, {len(relations):,} relations; triples: {sizes}")
    say("")
    rows = [[r["id"], r["text"], r["train"], r["valid"], r["test"]] for r in relations[:RELATIONS_SHOWN]]
    print_table(["relation", "text", "train", "valid", "test"], rows)
    if len(relations) > RELATIONS_SHOWN:
        say(f"... and {len(relations) - RELATIONS_SHOWN:,} more (all with --json)")
    if told["sample"]:
        say("")
        _draw_triples(told["sample"])
    for warning in told["warnings"]:
        warn(warning)


def draw_entity(told: dict[str, Any]) -> None:
    """Print what `entity` found."""
    say(f"{told['name']} ({told['id']})")
    say(told["description"] or "no description")
    say("")
    _draw_triples(told["triples"])
    left = told["num_triples"] - len(told["triples"])
    if left:
        say(f"... and {left:,} more triples (--triples {told['num_triples']} shows all)")


def _triple(graph: Graph, split: Split, row: int) -> dict[str, str]:
    head, relation, tail = graph.triples(split)[row].tolist()
    return {
        "split": split,
        "head": graph.entity_ids[head],
        "head_name": graph.entity_names[head],
        "relation": graph.relation_ids[relation],
        "relation_text": graph.relation_texts[relation],
        "tail": graph.entity_ids[tail],
        "tail_name": graph.entity_names[tail],
    }


def _draw_triples(triples: list[dict[str, str]]) -> None:
    rows = [[t["split"], t["head_name"], t["relation_text"], t["tail_name"]] for t in triples]
    print_table(["split", "head", "relation", "tail"], rows)
