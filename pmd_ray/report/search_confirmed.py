"""What the confirming study says: is what the search found better than the default, by how much, how sure?"""

from __future__ import annotations

from dataclasses import dataclass

from pmd_ray.report.contents import Contents
from pmd_ray.report.measures import TITLES
from pmd_ray.report.questions import Answer
from pmd_ray.report.sheet import interval, p_value, signed
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_stages import meaning
from pmd_ray.spec.study import BASELINE
from pmd_ray.stats.words import Verdict

DEFAULT, PAPER = "the default", "the paper's setting"


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """One of the best, trained again, beside the default."""

    variant: str
    sentence: str


def confirmed_sentences(found: Contents) -> list[Confirmed]:
    """What each of the best is beside the default, and beside the paper's setting, on test, in the study's order."""
    told: dict[str, str] = {}
    for answer in found.answers:
        if answer.control == BASELINE:
            told.setdefault(answer.variant, sentence(answer))
        elif answer.variant in told:
            told[answer.variant] += f" {sentence(answer, than=PAPER)}"
    return [Confirmed(variant=name, sentence=text) for name, text in told.items()]


def sentence_for(found: Contents, chain: ChainConfig) -> str | None:
    """The sentence on the variant that means the same as a chain, seeds apart; None where it was not trained again."""
    wanted = _meaning(chain)
    if _meaning(found.record.study.variant(BASELINE).arms[0].chain) == wanted:
        return "It is the default itself: the search found nothing better."
    for one in confirmed_sentences(found):
        if any(_meaning(arm.chain) == wanted for arm in found.record.study.variant(one.variant).arms):
            return one.sentence
    return None


def sentence(answer: Answer, *, than: str = DEFAULT) -> str:
    """The comparison in words, with its difference, interval, p and seeds."""
    c, seeds = answer.comparison, f"{len(answer.seeds)} seed{'s' * (len(answer.seeds) != 1)}"
    if c is None:
        return f"{answer.variant} cannot be compared with {than} yet: {answer.note or 'stages are missing'}."
    figures = (
        f"{TITLES[answer.question.metric]} {signed(c.difference.mean)}, "
        f"95 % interval {interval(c.difference.low, c.difference.high, sign=True)}"
    )
    p = c.p if c.p_adjusted is None else c.p_adjusted
    sure = "" if p is None else f", p {p_value(p) if p < 0.001 else f'= {p_value(p)}'}"
    holm = f" (Holm over {c.family})" if sure and c.family > 1 else ""
    return f"On test, {answer.variant} {_words(c.verdict, than)}: {figures}{sure}{holm}, {seeds}."


def _words(verdict: Verdict, than: str) -> str:
    match verdict:
        case Verdict.BETTER:
            return f"is better than {than}"
        case Verdict.WORSE:
            return f"is worse than {than}"
        case Verdict.NO_DIFFERENCE_SHOWN:
            return f"is not shown to differ from {than}"
        case Verdict.NOT_INFERIOR:
            return f"is not inferior to {than}"
        case Verdict.NOT_SHOWN_NOT_INFERIOR:
            return f"is not shown to be non-inferior to {than}"
        case Verdict.TOO_FEW_SEEDS:
            return f"has too few seeds for an exact test against {than}"
        case Verdict.ONE_SEED | Verdict.ONE_TRIPLE:
            return f"beside {than} ({verdict.value})"


def _meaning(chain: ChainConfig) -> list[str]:
    return meaning(chain.model_copy(update={"seed": 0}))
