"""Finds entities and relations by id or by name, as a person types them."""

from __future__ import annotations

from difflib import get_close_matches

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.pieces import inverse_text
from pmd_ray.spec.errors import UserError

SHOWN = 5
INVERSE = "inverse "


def find_entity(graph: Graph, wanted: str) -> int:
    """The number of the entity of that id, that name, or that name but for upper and lower case.

    Raises:
        UserError: there is none, or there are several.
    """
    if wanted in graph.entity_index:
        return graph.entity_index[wanted]
    exact = [number for number, name in enumerate(graph.entity_names) if name == wanted]
    alike = exact or [n for n, name in enumerate(graph.entity_names) if name.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        ids = ", ".join(f"{graph.entity_ids[n]} ({graph.entity_descriptions[n][:40]})" for n in alike[:SHOWN])
        raise UserError(f"{len(alike)} entities are called '{wanted}'; give an id: {ids}")
    near = get_close_matches(wanted, graph.entity_names, n=SHOWN)
    hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "."
    outside = "To ask about an entity outside the graph, give its text with --text."
    raise UserError(f"no entity '{wanted}' in {graph.name}{hint} {outside}")


def find_relation(graph: Graph, wanted: str, *, inverse: bool) -> int:
    """The number of the relation of that id or text: R and above for inverses.

    Raises:
        UserError: there is none, or there are several.
    """
    count = graph.num_relations
    for text, turned in ((wanted, inverse), (wanted.removeprefix(INVERSE), not inverse)):
        if text in graph.relation_index:
            return graph.relation_index[text] + count * turned
        alike = [number for number, said in enumerate(graph.relation_texts) if said == text]
        if len(alike) > 1:
            ids = ", ".join(graph.relation_ids[number] for number in alike[:SHOWN])
            raise UserError(f"{len(alike)} relations are called '{text}'; give an id: {ids}")
        if alike:
            return alike[0] + count * turned
        if not wanted.startswith(INVERSE):
            break
    near = get_close_matches(wanted, [*graph.relation_texts, *graph.relation_ids], n=SHOWN)
    hint = f"did you mean {' or '.join(repr(name) for name in near)}?" if near else "see pmd data show"
    raise UserError(f"no relation '{wanted}' in {graph.name}; {hint} (or '{inverse_text('...')}' of one)")
