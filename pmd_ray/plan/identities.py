"""What a study's stage keys need that its file does not say: fingerprints of graph and encoders, without torch.

A graph or encoder that is not on this machine gets a stand-in, so that a plan still answers; its keys are nobody's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pmd_ray.kg.graph import Graph
from pmd_ray.kg.load import find_folder, load_graph
from pmd_ray.model.encoder_files import encoder_facts
from pmd_ray.plan.known_sizes import BASE, EncoderSizes, GraphSizes, encoder_sizes, graph_sizes
from pmd_ray.plan.text_counts import TextCounts
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import Facts
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import SpecError, UserError, nearest
from pmd_ray.spec.keys import digest
from pmd_ray.spec.study import BASELINE, StudyConfig
from pmd_ray.spec.study_record import DatasetRecord

Device = Literal["cpu", "cuda"]
NVIDIA = (Path("/dev/nvidiactl"), Path("/dev/nvidia0"))
STAND_IN = "not on this machine: "


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Fingerprints of what a study reads, and how large it is."""

    device: str
    """`cpu` or `cuda`."""
    dataset: DatasetRecord | None
    """None where the graph is not on this machine."""
    encoders: dict[str, str]
    """Fingerprint by `encoder_label`."""
    missing: tuple[str, ...] = ()
    """What is not on this machine, and how to get it, a sentence each."""
    texts: TextCounts
    """Of the graph, or of its sizes in the catalog."""
    source: str
    """Of the graph, as the study gives it."""
    sizes: Mapping[str, EncoderSizes]
    """By the encoder's name; those of `scratch` stand in its configuration."""

    @property
    def known(self) -> bool:
        """Whether the keys are those that a run has: else nothing can count as stored."""
        return not self.missing

    def facts_of(self, chain: ChainConfig) -> Facts:
        """What the stage keys of a chain need; the weights of `scratch` follow its seed."""
        dataset = self.dataset.fingerprint if self.dataset else digest(STAND_IN + self.source)
        label = encoder_label(chain.encoder, chain.seed)
        return Facts(dataset=dataset, encoder=self.encoders[label], device=self.device)

    def sizes_of(self, chain: ChainConfig) -> EncoderSizes:
        """Sizes of a chain's encoder."""
        scratch = chain.encoder.scratch
        if chain.encoder.name == "scratch":
            return EncoderSizes(scratch.layers, scratch.width, scratch.vocabulary)
        return self.sizes[chain.encoder.name]


def identify(study: StudyConfig, *, device: str, home: Path | None = None, graphs: Path | None = None) -> Identities:
    """Read the graph and the encoders of a study.

    Args:
        study: Every variant reads the same graph; encoders may differ.
        device: `cpu` or `cuda`; see `device_named`.
        home: Where fetched datasets lie (`pmd_ray.kg.load.data_home`).
        graphs: Where graphs lie by fingerprint (`pmd_ray.kg.load.graphs_home`).

    Raises:
        UserError: there is no such graph; an encoder's folder cannot be read.
        DataError: the graph breaks a rule of its layout.
        SpecError: a grade has more layers than what it starts from.
    """
    source = study.variants[0].arms[0].chain.dataset.source
    missing: list[str] = []
    graph = _graph(source, home, graphs, missing)
    encoders: dict[str, str] = {}
    sizes: dict[str, EncoderSizes] = {}
    for config, seed in _encoders(study):
        label = encoder_label(config, seed)
        facts = encoder_facts(config, graph.texts if graph else list, seed=seed)
        if facts is not None:
            encoders[label] = facts.fingerprint
            sizes[config.name] = EncoderSizes(facts.layers, facts.width, facts.vocabulary, facts.positions)
            continue
        encoders[label] = digest(STAND_IN + config.name)
        sizes[config.name] = encoder_sizes(config.name) or BASE
        guessed = "" if encoder_sizes(config.name) else "; its sizes are taken to be those of bert-base-uncased"
        missing.append(
            f"encoder '{config.name}' is not on this machine; it is downloaded once, by the first run with a network"
            + guessed
        )
    found = Identities(
        device=device,
        dataset=_record(graph, source) if graph else None,
        encoders=encoders,
        missing=tuple(missing),
        texts=_texts(graph, source),
        source=source,
        sizes=sizes,
    )
    _check_depths(study, found)
    return found


def encoder_label(config: EncoderConfig, seed: int) -> str:
    """An encoder's name; for `scratch` with its sizes and seed, which its weights follow."""
    if config.name != "scratch":
        return config.name
    sizes = config.scratch
    return f"scratch {sizes.layers}x{sizes.width}, {sizes.heads} heads, {sizes.vocabulary} words, seed {seed}"


def device_named(name: str, environment: Mapping[str, str] | None = None) -> Device:
    """`cpu` or `cuda`; `auto` is `cuda` where an NVIDIA driver shows devices that CUDA_VISIBLE_DEVICES does not hide.

    Args:
        name: As a user gives it.
        environment: This process's own by default.

    Raises:
        UserError: another name.
    """
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES", "all").strip()
    there = visible not in ("", "-1") and any(path.exists() for path in NVIDIA)
    match name:
        case "auto":
            return "cuda" if there else "cpu"
        case "cpu" | "cuda":
            return name
    raise UserError(f"--device must be cpu, cuda or auto, got '{name}'{nearest(name, ('cpu', 'cuda', 'auto'))}")


def _encoders(study: StudyConfig) -> Iterator[tuple[EncoderConfig, int]]:
    """Each encoder once, with the seeds that it differs in."""
    seen: set[str] = set()
    for run in study.runs():
        label = encoder_label(run.chain.encoder, run.seed)
        if label not in seen:
            seen.add(label)
            yield run.chain.encoder, run.seed


def _graph(source: str, home: Path | None, graphs: Path | None, missing: list[str]) -> Graph | None:
    """The graph; None where only the catalog knows it."""
    try:
        find_folder(source, home=home, graphs=graphs)
    except UserError as error:
        if graph_sizes(source) is None:
            raise
        missing.append(f"{error}; its sizes are taken from the catalog, the lengths of its texts are assumed")
        return None
    return load_graph(source, home=home, graphs=graphs)


def _record(graph: Graph, source: str) -> DatasetRecord:
    return DatasetRecord(
        name=graph.name,
        source=source,
        fingerprint=graph.fingerprint,
        entities=graph.num_entities,
        relations=graph.num_relations,
        train=len(graph.train),
        valid=len(graph.valid),
        test=len(graph.test),
    )


def _texts(graph: Graph | None, source: str) -> TextCounts:
    sizes = graph_sizes(source) if graph is None else GraphSizes.of(graph)
    assert sizes is not None, source
    return TextCounts(sizes, graph)


def _check_depths(study: StudyConfig, identities: Identities) -> None:
    """Every grade must find the layers that it copies: what training would refuse is refused before it."""
    errors: list[str] = []
    for variant in study.variants:
        where = "" if variant.name == BASELINE else f"variants.{variant.name}: "
        for arm in variant.arms:
            depth = identities.sizes_of(arm.chain)
            for grade in arm.chain.grades:
                if grade.init.source != "encoder" or depth.assumed or grade.layers <= depth.layers:
                    continue
                errors.append(
                    f"{where}grades.{grade.name}.layers: the encoder '{arm.chain.encoder.name}' has {depth.layers} "
                    f"layers, got {grade.layers}; lower it, or choose a deeper encoder"
                )
    if errors:
        raise SpecError(study.name, dict.fromkeys(errors))
