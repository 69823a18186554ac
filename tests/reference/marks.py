"""What some tests need of a machine."""

from __future__ import annotations

import pytest
import torch

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="this torch has no oneDNN",
)
