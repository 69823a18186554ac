"""Examples that are made into texts and tokens each time they are asked for, and batches padded to the longest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pmd_ray.kg.graph import Graph
from pmd_ray.spec.dataset import TextConfig

Triple = tuple[int, int, int]
"""Head, relation (inverses from the number of relations on), tail."""
Draw = Callable[[str, Triple, int], list[int]]
"""Masked positions of the text of a role (`hr`, `tail`, `head`) of so many tokens."""
ROLES = ("hr", "tail", "head")
WORDS = 50
NOBODY = -1
"""No head, no relation: the example of an entity alone."""


def cut(descriptions: Sequence[str], text: TextConfig) -> list[str]:
    """Descriptions of at most 50 words, as its preprocessing leaves them: more than so many tokens are never read."""
    words = max(WORDS, text.max_tokens, text.neighbours_below_words)
    return [" ".join(description.split()[:words]) for description in descriptions]


def random_positions(rate: float) -> Draw:
    """int(rate * n) positions from 1 to n - 2, with replacement."""

    def draw(role: str, triple: Triple, length: int) -> list[int]:
        return [int(torch.randint(1, length - 1, (1,))) for _ in range(int(rate * length))]

    return draw


class KnownLinks:
    """What the training triples say, inverses included: answers of a query, neighbours of an entity."""

    def __init__(self, graph: Graph, *splits: Any) -> None:
        self.answers: dict[tuple[int, int], set[int]] = {}
        self.neighbours: dict[int, set[int]] = {}
        for head, relation, tail in (row for split in splits for row in split.tolist()):
            self.answers.setdefault((head, relation), set()).add(tail)
            self.answers.setdefault((tail, relation + graph.num_relations), set()).add(head)
            self.neighbours.setdefault(head, set()).add(tail)
            self.neighbours.setdefault(tail, set()).add(head)


@dataclass(frozen=True)
class Maker:
    """Makes an example's texts and tokens."""

    graph: Graph
    links: KnownLinks
    tokenizer: Any
    """A tokenizer of transformers."""
    text: TextConfig
    draw: Draw
    descriptions: Sequence[str]
    """Of all entities, cut beforehand."""
    training: bool = True
    """The answer is no neighbour in a text while training."""

    def entity_text(self, entity: int, answer: int) -> str:
        """`name: description neighbours`."""
        graph, text = self.graph, self.text
        if entity == NOBODY:
            return ""
        name, description = graph.entity_names[entity], self.descriptions[entity] if text.description else ""
        if text.neighbours and len(description.split()) < text.neighbours_below_words:
            near = sorted(self.links.neighbours.get(entity, set()), key=graph.entity_ids.__getitem__)
            near = near[: text.max_neighbours]
            if self.training:
                near = [other for other in near if other != answer]
            description = f"{description} {' '.join(graph.entity_names[other] for other in near)}".strip()
        if description.startswith(name):
            description = description[len(name) :].strip()
        return f"{name}: {description}" if description else name

    def relation_text(self, relation: int) -> str:
        """An inverse one is told by the word before it."""
        count = self.graph.num_relations
        if relation == NOBODY:
            return ""
        text = self.graph.relation_texts[relation % count]
        return text if relation < count else f"inverse {text}"

    def vectorise(self, triple: Triple) -> dict[str, Any]:
        """Tokens of the query, the tail and the head, masked in place."""
        head, relation, tail = triple
        texts = {
            "hr": (self.entity_text(head, tail), self.relation_text(relation)),
            "tail": (self.entity_text(tail, head), None),
            "head": (self.entity_text(head, tail), None),
        }
        made: dict[str, Any] = {"triple": triple}
        for role, (text, pair) in texts.items():
            encoded = self.tokenizer(
                text=text,
                text_pair=pair,
                add_special_tokens=True,
                max_length=self.text.max_tokens,
                truncation=True,
                return_token_type_ids=True,
            )
            ids = list(encoded["input_ids"])
            positions = self.draw(role, triple, len(ids))
            for position in positions:
                ids[position] = self.tokenizer.mask_token_id
            made[role] = {"ids": ids, "types": encoded["token_type_ids"], "masked": positions}
        return made


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """Triples that are tokenised when they are asked for, in every epoch again."""

    def __init__(self, triples: Sequence[Triple], maker: Maker) -> None:
        self._triples, self._maker = triples, maker

    def __len__(self) -> int:
        return len(self._triples)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self._maker.vectorise(self._triples[place])


def collate(made: Sequence[dict[str, Any]], links: KnownLinks | None, pad: int) -> dict[str, Any]:
    """A batch: every role padded to its longest, a copy for the student, and which pairs may count as negatives.

    Args:
        links: None where nothing is trained: then no pairs are looked at.
    """
    batch: dict[str, Any] = {"size": len(made)}
    for role in ROLES:
        batch[role] = _padded_role([example[role] for example in made], pad)
        batch[f"student_{role}"] = _padded_role([example[role] for example in made], pad)
    if links is not None:
        batch["triplet_mask"] = negatives([example["triple"] for example in made], links)
    return batch


def _padded_role(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    ids, mask = _padded([row["ids"] for row in rows], pad)
    types, _ = _padded([row["types"] for row in rows], 0)
    return {"ids": ids, "mask": mask, "types": types, "masked": [row["masked"] for row in rows]}


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    values = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        values[place, : len(row)].copy_(torch.tensor(row))
        mask[place, : len(row)].fill_(1)
    return values, mask


def negatives(triples: Sequence[Triple], links: KnownLinks) -> Tensor:
    """[B, B] True where another query's tail is no known answer, and on the diagonal."""
    tails = torch.tensor([tail for _, _, tail in triples])
    allowed = tails[:, None] != tails[None, :]
    allowed.fill_diagonal_(True)
    for row, (head, relation, _) in enumerate(triples):
        known = links.answers.get((head, relation), set())
        if len(known) <= 1:  # the own answer: the comparison above has seen it
            continue
        for column, (_, _, tail) in enumerate(triples):
            if row != column and tail in known:
                allowed[row, column] = False
    return allowed
