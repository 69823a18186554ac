"""pmd_ray: progressive distillation with masked generation features for text-based knowledge graph completion.

The public functions are loaded on first use, so that importing the package costs neither torch nor ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmd_ray.api import distil, evaluate, load_graph, load_model, predict

__version__ = "0.1.0"
__all__ = ["distil", "evaluate", "load_graph", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pmd_ray import api

        return getattr(api, name)
    raise AttributeError(f"module 'pmd_ray' has no attribute '{name}'")
