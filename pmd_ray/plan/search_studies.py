"""A search's trials and its confirmation as studies: what identifies, merges and costs those serves them too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pmd_ray.plan.identities import Identities, identify
from pmd_ray.plan.search_draws import DrawnRound
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.search import SearchConfig
from pmd_ray.spec.search_chain import chain_of, confirmed_chain
from pmd_ray.spec.search_record import PAPER
from pmd_ray.spec.study import BASELINE, ArmConfig, CompareConfig, StudyConfig, VariantConfig


def identify_search(
    search: SearchConfig,
    rounds: Sequence[DrawnRound],
    *,
    device: str,
    home: Path | None = None,
    graphs: Path | None = None,
) -> Identities:
    """Read the graph and the encoders of a search, with the confirming seeds.

    Args:
        search: Its chains read the same graph; encoders may differ.
        rounds: Drawn from it (`drawn_rounds`).
        device: `cpu` or `cuda`.
        home: Where fetched datasets lie.
        graphs: Where graphs lie by fingerprint.

    Raises:
        UserError: there is no such graph; an encoder's folder cannot be read.
        DataError: the graph breaks a rule of its layout.
        SpecError: a grade has more layers than what it starts from.
    """
    chains = {BASELINE: chain_of(search, {})}
    deepest = {chains[BASELINE].encoder: _depth(chains[BASELINE])}
    for drawn in (trial for one in rounds for trial in one.trials):
        encoder, depth = drawn.chain.encoder, _depth(drawn.chain)
        if depth > deepest.get(encoder, -1):  # others read nothing more, and would repeat its complaints
            deepest[encoder] = depth
            chains["-".join(str(grade.layers) for grade in drawn.chain.grades) + f" ({drawn.origin})"] = drawn.chain
    seeds = tuple(dict.fromkeys((search.seed, *(search.confirm.seeds if search.confirm.best else ()))))
    return identify(_study(search, chains.items(), seeds=seeds), device=device, home=home, graphs=graphs)


def study_of_trials(search: SearchConfig, rounds: Sequence[DrawnRound]) -> StudyConfig:
    """A variant for each trial, in the order of asking; it asks nothing."""
    named = ((f"{one.name}.{place}", drawn.chain) for one in rounds for place, drawn in enumerate(one.trials))
    return _study(search, named, seeds=(search.seed,))


def tree_of_trials(search: SearchConfig, rounds: Sequence[DrawnRound], identities: Identities) -> StageTree:
    """The stages of all trials: what a store may be asked about before the plan."""
    return build_tree(study_of_trials(search, rounds).runs(), identities.facts_of)


def confirming_study(
    search: SearchConfig, rounds: Sequence[DrawnRound], seconds: Mapping[str, float]
) -> StudyConfig | None:
    """The default beside stand-ins for the best of each target: drawn chains of about the mean cost.

    Args:
        search: With `confirm`.
        rounds: Drawn from it.
        seconds: Cost of each trial, by the variant's name in `study_of_trials`.

    Returns:
        None where nothing is confirmed.
    """
    if not search.confirm.best:
        return None
    chains = {BASELINE: confirmed_chain(search, {})}
    means = {tuple(meaning(chains[BASELINE]))}
    for one in _last(search, rounds):
        trials = [(f"{one.name}.{place}", drawn) for place, drawn in enumerate(one.trials)]
        mean = fmean(seconds[name] for name, _ in trials) if trials else 0.0
        taken = 0
        for name, drawn in sorted(trials, key=lambda trial: abs(seconds[trial[0]] - mean)):
            if taken == search.confirm.best:
                break
            chain = confirmed_chain(search, drawn.settings)
            if tuple(meaning(chain)) not in means:
                means.add(tuple(meaning(chain)))
                chains[name] = chain
                taken += 1
    if len(chains) == 1:
        return None
    for one in _last(search, rounds):
        for drawn in one.trials:
            chain = confirmed_chain(search, drawn.settings)
            if drawn.origin == PAPER and tuple(meaning(chain)) not in means:
                means.add(tuple(meaning(chain)))
                chains[f"paper {one.name}"] = chain
    asked = CompareConfig(
        question="Is a chain that was found better than the default?", metric=search.metric, alternative="greater"
    )
    return _study(search, chains.items(), seeds=search.confirm.seeds, compare=(asked,))


def _last(search: SearchConfig, rounds: Sequence[DrawnRound]) -> Sequence[DrawnRound]:
    """The rounds whose trials are whole chains."""
    return rounds[-1:] if search.search.strategy == "grade" else rounds


def _depth(chain: ChainConfig) -> int:
    """Layers that are copied from the encoder; 0 where none are."""
    return max((grade.layers for grade in chain.grades if grade.init.source == "encoder"), default=0)


def _study(
    search: SearchConfig,
    chains: Iterable[tuple[str, ChainConfig]],
    *,
    seeds: tuple[int, ...],
    compare: tuple[CompareConfig, ...] = (),
) -> StudyConfig:
    variants = tuple(
        VariantConfig(name=name, parent=None if name == BASELINE else BASELINE, arms=(ArmConfig(chain=chain),))
        for name, chain in chains
    )
    return StudyConfig(name=search.name, about=search.about, seeds=seeds, variants=variants, compare=compare)
