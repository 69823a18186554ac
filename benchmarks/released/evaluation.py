"""The released code's evaluation: entities and queries in the order they come, a full sort of all entities a query."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.clock import Clock
from benchmarks.released.examples import NOBODY, Examples, KnownLinks, Maker, Triple, collate
from benchmarks.released.towers import Towers, in_phase, mean_vector

AT_ONCE = 1024
"""Texts of a batch."""
RANKED_AT_ONCE = 256
TOP = 10


@torch.no_grad()
def entity_vectors(towers: Towers, maker: Maker, entities: Sequence[int], clock: Clock | None = None) -> Tensor:
    """[E, D] of entities, each an example without head and relation: only its tail is encoded."""
    towers.eval()
    found = []
    for start in range(0, len(entities), AT_ONCE):
        with in_phase(clock, "data"):
            triples = [(NOBODY, NOBODY, entity) for entity in entities[start : start + AT_ONCE]]
            examples = Examples(triples, maker)
            batch = collate([examples[place] for place in range(len(examples))], None, maker.tokenizer.pad_token_id)
        with in_phase(clock, "forward"):
            tail = batch["tail"]
            towers.counted.add(tail["mask"])
            out = towers.tail_bert(input_ids=tail["ids"], attention_mask=tail["mask"], token_type_ids=tail["types"])
            found.append(mean_vector(out.last_hidden_state, tail["mask"]))
    return torch.cat(found)


@torch.no_grad()
def query_vectors(towers: Towers, maker: Maker, triples: Sequence[Triple], clock: Clock | None = None) -> Tensor:
    """[Q, D] of queries: tails and heads are encoded with them, pooled, and left unread."""
    towers.eval()
    found = []
    for start in range(0, len(triples), AT_ONCE):
        with in_phase(clock, "data"):
            examples = Examples(triples[start : start + AT_ONCE], maker)
            batch = collate([examples[place] for place in range(len(examples))], None, maker.tokenizer.pad_token_id)
        with in_phase(clock, "forward"):
            found.append(towers(batch, "student_")["hr"])
    return torch.cat(found)


@torch.no_grad()
def ranks(queries_QD: Tensor, entities_ED: Tensor, triples: Sequence[Triple], links: KnownLinks) -> list[int]:
    """[Q] places of the answers in a sort of all entities, other known answers pushed to a score of -1."""
    found: list[int] = []
    for start in range(0, len(triples), RANKED_AT_ONCE):
        some = triples[start : start + RANKED_AT_ONCE]
        scores_BE = queries_QD[start : start + RANKED_AT_ONCE].mm(entities_ED.t())
        for row, (head, relation, answer) in enumerate(some):
            others = [known for known in links.answers.get((head, relation), set()) if known != answer]
            scores_BE[row].index_fill_(0, torch.tensor(others, dtype=torch.long), -1.0)
        values_BE, order_BE = torch.sort(scores_BE, dim=-1, descending=True)
        answers_B1 = torch.tensor([answer for _, _, answer in some])[:, None]
        places = torch.nonzero(order_BE.eq(answers_B1), as_tuple=False)
        found += [int(places[row].tolist()[1]) + 1 for row in range(len(some))]
        values_BE[:, :TOP].tolist(), order_BE[:, :TOP].tolist()  # the best are kept of each query
    return found
