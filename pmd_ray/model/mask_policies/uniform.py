"""Every maskable token is as likely as any other (PMD, 3.2)."""

from __future__ import annotations

from pmd_ray.spec.ragged import TokenRows


def log_weights(tokens: TokenRows) -> None:
    """No weights."""
    return None
