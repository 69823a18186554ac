"""A study over the tiny graph: four variants that share stages, trained in seconds."""

from __future__ import annotations

from pathlib import Path

from pmd_ray.plan.identities import identify
from pmd_ray.plan.tree import StageTree, build_tree
from pmd_ray.spec.study import StudyConfig
from pmd_ray.spec.study_file import load_study
from reference.tiny import write_config

STUDY = """\
name: tiny
about: Whether anything can be learnt from forty entities.
baseline:
  layers: [2, 2, 1]
  dataset: {source: SOURCE}
  encoder: {name: scratch, dropout: 0.1, scratch: {layers: 2, width: 32, heads: 4, vocabulary: 400}}
  mask_rates: [0.2, 0.0]
  optimiser: {epochs: EPOCHS, batch: 16, lr: 1.0e-3}
variants:
  no_mgfd: {mask.rate: 0.0}
  fixed: {mask.rate: 0.2}
  direct: {grades.1.teacher: teacher}
  no_teacher: {grades.*.teacher: none}
seeds: [0, 1]
"""
NAIVE, DISTINCT = 30, 18
"""Stages of the study: five chains of three grades and two seeds, and how many differ."""


def write_study(folder: Path, *, epochs: int = 2, **changes: str) -> Path:
    """A graph and `tiny.yaml` in a folder; `changes` replaces parts of the text."""
    return write_config(folder, "tiny.yaml", STUDY.replace("EPOCHS", str(epochs)), **changes)


def tree_of(study: StudyConfig) -> StageTree:
    """The study's stages on CPUs."""
    return build_tree(study.runs(), identify(study, device="cpu").facts_of)


def load_tiny(folder: Path, *, epochs: int = 2) -> StudyConfig:
    """The study, its graph written to a folder."""
    return load_study(str(write_study(folder, epochs=epochs)))
