"""best.yaml: the chain that a search found, as `pmd distill` takes it, with its evidence in comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pmd_ray.report.search_trials import Round, default_of, is_whole, ranked, rounds_of, value_of
from pmd_ray.report.settings import difference_text
from pmd_ray.report.sheet import signed, with_spread
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import dump_chain
from pmd_ray.spec.draft import build_chain
from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import SearchRecord, TrialRecord, TrialState

WIDTH = 110
UNCONFIRMED = "not confirmed: the value is of one training on validation, and nothing was scored on test"


def best_trial(record: SearchRecord, *, target: int | None) -> TrialRecord | None:
    """The best whole chain whose last student has `target` layers (of any depth for None); None where none is done."""
    whole = (trial for trial in record.trials if is_whole(record, trial))
    found = ranked(tuple(trial for trial in whole if target in (None, trial.layers[-1])))
    return found[0] if found else None


def best_chain(record: SearchRecord, trial: TrialRecord) -> ChainConfig:
    """A trial's chain as it is to be trained: the confirmation's settings laid over it."""
    search = record.search
    drafts = [*search.drafts, trial.settings, search.confirm.settings, {"seed": search.seed}]
    return build_chain(drafts, source=f"trial {trial.number} of {search.name}")


def best_yaml(record: SearchRecord, *, target: int | None, confirmed_sentence: str | None) -> str:
    """The chain file of the best trial, every setting written out.

    Args:
        target: Layers of the last student; None: the best of all.
        confirmed_sentence: What the confirmation says of it; None: it was not confirmed.

    Raises:
        UserError: No trial of that depth is done.
        SpecError: The chain cannot be built any more.
    """
    trial = best_trial(record, target=target)
    if trial is None:
        depth = "" if target is None else f" whose last student has {target} layers"
        raise UserError(f"no trial{depth} is done; go on with pmd resume")
    chain = best_chain(record, trial)
    comments = [comment(line) for line in _evidence(record, trial, confirmed_sentence or UNCONFIRMED)]
    return "".join(comments) + "\n" + dump_chain(chain)


def comment(text: str) -> str:
    """Lines of a YAML comment: whatever is in the text, it ends no comment."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"# {line}\n" for line in textwrap.wrap(plain, WIDTH, subsequent_indent="  ")) or "#\n"


def _evidence(record: SearchRecord, trial: TrialRecord, confirmed: str) -> Iterator[str]:
    search = record.search
    rounds = rounds_of(record)
    mine = next(one for one in rounds if one.name == trial.round)
    keys = [use.key for one in record.trials for use in one.stages]
    done = sum(one.state is TrialState.DONE for one in record.trials)
    count = f"{len(record.trials)} ({done} done)"
    yield f"Found by the search {search.name}: trial {trial.number} of {count}, {trial.origin}."
    yield f"Train it: pmd distill THIS_FILE. Found with: {record.command}"
    yield f"Validation {search.metric}: {with_spread(trial.value, trial.standard_error, 4)}, rank {_rank(mine, trial)}."
    yield _default_text(rounds, mine)
    if close := mine.close():
        yield f"Within one standard error of it: trials {', '.join(str(other.number) for other in close)}."
    yield f"Confirmation: {confirmed}"
    yield f"Differs from the baseline in: {difference_text(trial.settings) or 'nothing'}."
    if search.confirm.settings:
        yield f"Laid over it, as for the confirmation: {difference_text(search.confirm.settings)}."
    yield f"Stages of all trials: {len(keys)}, of them distinct: {len(set(keys))}."
    yield f"Graph {record.dataset.name}, fingerprint {record.dataset.fingerprint}; storage {record.storage}."
    yield f"Begun {record.created}; this trial ended {trial.ended or 'at a time that is not known'}."
    yield "Its stages in the storage (pmd show KEY):"
    yield from (f"  {use.grade}: {use.key}" for use in trial.stages)


def _rank(one: Round, trial: TrialRecord) -> str:
    return f"{one.rank(trial)} of {len(one.ranked)} ({one.title})"


def _default_text(rounds: tuple[Round, ...], mine: Round) -> str:
    default = default_of(rounds, mine)
    if default is None:
        return "The default setting was not tried to its end."
    told = f"{with_spread(value_of(default), default.standard_error, 4)} (trial {default.number}"
    best = mine.best
    gap = f"; the best is {signed(value_of(best) - value_of(default), 4)}" if best is not None else ""
    return f"The default setting: {told}, layers {'-'.join(map(str, default.layers))}){gap}."
