"""What a job takes along: a folder with the study file and the chain file that it starts from, and a command line."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Literal

from pmd_ray.spec import chain_file, search_file, study_file
from pmd_ray.spec.chain import ChainConfig
from pmd_ray.spec.chain_file import exists_as, find_chain, parse_override, read_draft
from pmd_ray.spec.search_chain import chain_of

Verb = Literal["ablate", "search", "distill"]
RUNS = "~/pmd_ray/runs"
"""On the machine that runs the job's command."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A study, search or chain, ready to be read elsewhere."""

    verb: Verb
    file: str
    """Its name in the folder; of a preset the preset's."""
    name: str
    """What it calls itself."""
    overrides: tuple[str, ...]
    """For `--set`: the user's, then those that make up for the other place."""
    source: str
    """Of its graph."""

    @property
    def run(self) -> str:
        """What its folder among the runs is called."""
        return f"search-{self.name}" if self.verb == "search" else self.name

    def reading(self, source: str) -> Packed:
        """The same with its graph given otherwise."""
        return replace(self, source=source, overrides=(*self.overrides, f"dataset.source={source}"))


def pack(verb: Verb, file: str, overrides: Sequence[str], folder: Path) -> Packed:
    """Copy what the command reads into a folder; the file is checked whole.

    Raises:
        UserError, SpecError: what is wrong with it.
    """
    path = _found(verb, file)
    given = tuple(overrides)
    name, chains = _read(verb, file, given)
    if path is not None:
        shutil.copyfile(path, folder / path.name)
        given += _with_baseline(verb, path, given, folder)
    packed_file = file if path is None else path.name
    return Packed(verb=verb, file=packed_file, name=name, overrides=given, source=chains[0].dataset.source)


def check_packed(packed: Packed, folder: Path) -> list[str]:
    """Read what was packed as the job will; the encoders that are folders of this machine.

    Raises:
        SpecError: with the graph named otherwise, a variant reads another one than the rest.
    """
    place = folder / packed.file
    _, chains = _read(packed.verb, str(place) if place.is_file() else packed.file, packed.overrides)
    return sorted({c.encoder.name for c in chains if exists_as(Path(c.encoder.name).expanduser(), Path.is_dir)})


def entrypoint(packed: Packed, *, out: str | None, options: Sequence[str], storage: str | None) -> str:
    """The job's command line, for a shell on the head.

    Args:
        out: Where record and report go; None is a folder of `RUNS`.
        storage: Of stages; None is what PMD_STORAGE says on the cluster.
    """
    words = ["python", "-m", "pmd_ray", packed.verb, packed.file]
    words += [word for text in packed.overrides for word in ("--set", text)]
    line = shlex.join([*words, *options])
    # A tilde is for the shell there; a name has no character that a shell would read.
    line += f" --out {shlex.quote(out)}" if out else f" --out {RUNS}/{packed.run}"
    if packed.verb == "distill":
        return line
    missing = "PMD_STORAGE is not set on the cluster: give pmd submit --storage PLACE"
    return f"{line} --storage {shlex.quote(storage)}" if storage else f'{line} --storage "${{PMD_STORAGE:?{missing}}}"'


def job_id(packed: Packed) -> str:
    """A new submission id."""
    return f"pmd-{re.sub('[^A-Za-z0-9_.-]', '-', packed.name)}-{token_hex(4)}"


def _found(verb: Verb, file: str) -> Path | None:
    match verb:
        case "ablate":
            return study_file.find_study(file)
        case "search":
            return search_file.find_search(file)
        case "distill":
            return find_chain(file)


def _read(verb: Verb, file: str, overrides: Sequence[str]) -> tuple[str, list[ChainConfig]]:
    """Its name, and the chains that it starts from."""
    match verb:
        case "ablate":
            study = study_file.load_study(file, overrides)
            return study.name, [arm.chain for variant in study.variants for arm in variant.arms]
        case "search":
            search = search_file.load_search(file, overrides)
            return search.name, [chain_of(search, {})]
        case "distill":
            stem = re.sub("[^A-Za-z0-9_.=,-]", "-", Path(file).stem)
            return stem, [chain_file.load_chain(file, overrides)]


def _with_baseline(verb: Verb, path: Path, overrides: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Copy the chain file that `baseline` names, unless it is shipped; what is to be said where its name changes."""
    if verb == "distill":
        return ()
    given: Mapping[str, object] = read_draft(path)
    for text in overrides:
        given = {**given, **parse_override(text)}
    baseline = given.get("baseline")
    if not isinstance(baseline, str):
        return ()
    beside = path.parent / baseline
    found = beside if exists_as(beside, Path.is_file) else find_chain(baseline)
    if found is None or found.parent == chain_file.SHIPPED:
        return ()
    name = found.name if found.name != path.name else f"baseline-{found.name}"
    shutil.copyfile(found, folder / name)
    return () if name == baseline else (f"baseline={name}",)
