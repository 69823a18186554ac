"""The base of every configuration: frozen, no unknown keys, the text under a field is its description."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Frozen(BaseModel):
    """An immutable, validated model; equal content means equal object."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `no` and `off` as false, which would else pass for the number 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and _is_plain(annotation):
            raise ValueError(
                f"must not be {str(value).lower()}; if a word was meant, quote it (YAML reads yes, no, on and off as "
                "true and false)"
            )
        return value


def _is_plain(annotation: Any) -> bool:
    """Whether a type is made of numbers, words and lists of them, without truth values."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return not any(isinstance(value, bool) for value in parts)
    return all(map(_is_plain, parts)) if parts else annotation in (int, float, str, type(None), Ellipsis)
