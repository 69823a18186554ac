"""A search's record among a store's studies, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import SearchRecord


def stored_search(studies: Mapping[str, str], name: str, *, where: str) -> SearchRecord | None:
    """The record of a search by its `id`; None where there is none.

    Args:
        studies: Records by name, as a store keeps them.
        name: The search's `id`.
        where: The store, for messages.

    Raises:
        UserError: it was written by another version and cannot be read.
    """
    text = studies.get(name)
    if text is None:
        return None
    try:
        return SearchRecord.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the record of '{name}' in {where} cannot be read ({reason}); give the search another name: its stages "
            "stay in the storage"
        ) from None
