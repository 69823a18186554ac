"""A search's record among a store's studies, read back."""

from __future__ import annotations

import json

from pydantic import ValidationError

from pmd_ray.spec.errors import UserError
from pmd_ray.spec.search_record import SearchRecord


def read_stored(text: str | None, name: str, *, where: str) -> SearchRecord | None:
    """The record of a search from what a store has under its `id`; None where it has nothing.

    Args:
        text: As the store keeps it (`Store.study`).
        name: The search's `id`.
        where: The store, for messages.

    Raises:
        UserError: it was written by another version and cannot be read.
    """
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
