"""Keeps libraries off the user's terminal: their bars, reports and warnings say nothing about what was asked.

Levels and switches of the libraries themselves, so that a failure still speaks. With --debug nothing is switched off.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

import typer

LIBRARIES = {
    # Poolers that we never build are reported as MISSING at every load.
    "TRANSFORMERS_VERBOSITY": "error",
    # Unset, tokenizers warn at a fork after their first use, as when Ray starts; what we fork runs no tokenizer.
    "TOKENIZERS_PARALLELISM": "true",
}
"""Read by the libraries when they are imported, and inherited by worker processes; what the user has set stays."""


def quieten(context: typer.Context, *, loads_models: bool = True) -> None:
    """Call before a verb imports torch, ray or transformers; importing those for their bars' sake takes seconds."""
    if context.find_root().params.get("debug"):
        logging.getLogger("ray.train").setLevel(logging.INFO)
        return
    for name, value in LIBRARIES.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if loads_models:
        _hide_loading_bars()


def _hide_loading_bars() -> None:
    """Bars over the weights of a file that is on this disk; downloads from the Hub keep theirs."""
    from huggingface_hub import utils as hub
    from transformers.utils import logging as transformers_logging

    wanted = not hub.are_progress_bars_disabled()  # type: ignore[attr-defined]
    transformers_logging.disable_progress_bar()  # switches off both kinds
    if wanted:
        hub.enable_progress_bars()  # type: ignore[attr-defined]
