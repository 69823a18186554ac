"""A study or search found in a store by its name: what `pmd fetch`, `status` and `tensorboard` read from afar."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pmd_ray.spec.search_record import SearchRecord
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

StoredIn = Annotated[
    str | None,
    typer.Option("--storage", metavar="PLACE", help="Look there for a study or search of that name, not in a folder."),
]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One of the two is there."""

    study: StudyRecord | None = None
    search: SearchRecord | None = None
    confirmed: StudyRecord | None = None
    """The study that confirms the search, once it has begun."""
    store: Store

    @property
    def name(self) -> str:
        """What its folder is called by default."""
        if self.search is not None:
            return f"search-{self.search.search.name}"
        assert self.study is not None
        return self.study.study.name


def find_stored(name: str, storage: str) -> Found:
    """The study or search of that name, or of the longer one that the store gives it.

    Its record says where this machine found it: the nodes may have called the storage otherwise.

    Raises:
        UserError: the storage holds no store, or no study of that name, or several.
    """
    from pmd_ray.spec.search_record import SearchRecord
    from pmd_ray.spec.study_record import StudyRecord
    from pmd_ray.store.store import Store

    store = Store.open(storage, create=False)
    records = records_of(store)
    studies = {key: one for key, one in records.items() if isinstance(one, StudyRecord)}
    searches = {key: one for key, one in records.items() if isinstance(one, SearchRecord)}
    plain = name.removeprefix("search-")
    near = {key: one for key, one in studies.items() if name in (key, one.study.name)}
    looked = {key: one for key, one in searches.items() if name == key or plain == one.search.name}
    there = [one.study.name for one in studies.values()] + [one.search.name for one in searches.values()]
    chosen = _chosen(name, [*near, *looked], store, sorted(set(there)))
    here = {"storage": store.location}
    if chosen in near:
        return Found(study=near[chosen].model_copy(update=here), store=store)
    search = looked[chosen].model_copy(update=here)
    confirmed = _confirming(search, studies)
    return Found(search=search, confirmed=confirmed and confirmed.model_copy(update=here), store=store)


def records_of(store: Store) -> dict[str, StudyRecord | SearchRecord | None]:
    """Every study and search that a store knows, by name; None where this version cannot read the record."""
    from pydantic import ValidationError

    from pmd_ray.spec.search_record import SearchRecord
    from pmd_ray.spec.study_record import StudyRecord

    def read(text: str) -> StudyRecord | SearchRecord | None:
        for kind in (StudyRecord, SearchRecord):
            with suppress(ValidationError):
                return kind.model_validate_json(text)
        return None

    return {name: read(text) for name, text in store.studies().items()}


def _chosen(name: str, found: list[str], store: Store, there: list[str]) -> str:
    from pmd_ray.spec.errors import UserError, nearest
    from pmd_ray.store.location import without_secrets

    where = without_secrets(store.location)
    if name in found:
        return name
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{where} holds {len(found)} by the name '{name}'; give one: {', '.join(found)}")
    listed = ", ".join(there[:10]) or "none"
    raise UserError(f"{where} holds no study or search '{name}'{nearest(name, there)} (there: {listed})")


def _confirming(search: SearchRecord, studies: dict[str, StudyRecord]) -> StudyRecord | None:
    """The newest study that means what the confirmation of the search means, on the same graph and device."""
    from pmd_ray.run.search.confirm import confirming_study

    wanted = confirming_study(search)
    if wanted is None:
        return None
    same = [
        record
        for record in studies.values()
        if record.study.meaning == wanted.meaning
        and record.dataset.fingerprint == search.dataset.fingerprint
        and record.device == search.device
    ]
    return max(same, key=lambda record: record.created, default=None)
