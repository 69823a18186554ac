"""What all grades of a chain share: the graph, the pretrained encoder, the texts' tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.load import load_graph
from pmd_ray.kg.pieces import open_pieces
from pmd_ray.kg.texts import Texts
from pmd_ray.model.build import Sample
from pmd_ray.model.encode import pack
from pmd_ray.model.source import Source, load_source
from pmd_ray.model.wordpiece import WordPieces
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.dataset import TextConfig
from pmd_ray.spec.errors import SpecError
from pmd_ray.spec.places import Places
from pmd_ray.spec.streams import generator


@dataclass(frozen=True)
class Workshop:
    """Read-only: every grade and worker of a chain may use it."""

    graph: Graph
    source: Source
    texts: Texts

    def sample(self) -> Sample:
        """Ids, segments and attention of up to 256 entity texts, for layer maps that look at what layers do."""
        count = min(256, self.graph.num_entities)
        chosen = generator(0, "layer sample").permutation(self.graph.num_entities)[:count]
        rows = self.texts.entity_rows(chosen)
        packed = pack(rows, group_tokens=count * int(rows.ids.lengths.max()))  # padded, all are in one group
        (group,) = packed.groups
        places, attended = group.padded()
        return group.laid_out(packed.word_ids[group.words], places), group.laid_out(group.segments, places), attended


def open_workshop(chain: ChainConfig, places: Places) -> Workshop:
    """Load graph and encoder and tokenise what is not tokenised yet.

    Raises:
        DataError, EncoderError, UserError: what is wrong with them.
        SpecError: a grade asks for more layers than the encoder has.
    """
    graph = load_graph(chain.dataset.source, home=places.data_home, graphs=places.graphs)
    source = load_source(chain.encoder, graph.texts(), seed=chain.seed)
    check_depths(chain, source.layers)
    return Workshop(graph, source, open_texts(graph, source.wordpieces, chain.dataset.text, places.cache))


def open_texts(graph: Graph, wordpieces: WordPieces, text: TextConfig, cache: Path | None) -> Texts:
    """Texts of a graph for a tokenizer, from the cache where they are there."""
    return Texts(graph, open_pieces(graph, wordpieces, cache), wordpieces, text)


def check_depths(chain: ChainConfig, depth: int) -> None:
    """Every grade must find the layers that it copies, in the encoder or in its teacher, before anything is trained.

    Raises:
        SpecError: naming all that do not.
    """
    errors = []
    for place, grade in enumerate(chain.grades):
        teacher = chain.teacher_of(place)
        if grade.init.source == "encoder":
            there, whose = depth, f"the encoder '{chain.encoder.name}'"
        elif grade.init.source == "teacher" and teacher is not None:
            there, whose = chain.grades[teacher].layers, f"its teacher '{chain.grades[teacher].name}'"
        else:
            continue  # another model by name: known when it is loaded
        chosen = grade.init.layer_map
        if grade.layers > there:
            errors.append(
                f"grades.{grade.name}.layers: {whose} has {there} layers, got {grade.layers}; "
                f"lower it, as in --set layers=[{there},...], or choose a deeper encoder"
            )
        elif not isinstance(chosen, str) and max(chosen) >= there:
            errors.append(
                f"grades.{grade.name}.init.layer_map: {whose} has layers 0 to {there - 1}, got {list(chosen)}"
            )
    if errors:
        raise SpecError("chain", errors)


def device_of(name: str | None = None) -> torch.device:
    """The device of that name, or the best there is."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
