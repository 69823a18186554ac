"""CPU seconds that a distilled student takes to a test MRR on UMLS, its teacher's encoding included, its teacher not.

The shipped chain `umls_names` (6 to 3 layers, names alone), one seed, as `pmd distill` trains it.
`benchmarks/quality.py` has any chain and several seeds.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.inputs import SCRATCH, Asked
from benchmarks.record import Case
from pmd_ray.run.distil import distil
from pmd_ray.spec.chain_file import load_chain
from pmd_ray.spec.places import Places

RELEASED_MRR = 0.722
"""What the released code reaches in 470 CPU s after its teacher."""


def cases(asked: Asked) -> Iterator[Case]:
    """One training of the whole chain."""
    if not asked.wants("quality: umls_names"):
        return
    settings = [f"dataset.source={asked.source('UMLS')}", f"encoder.name={asked.encoder}"]
    if asked.encoder == "scratch":
        settings += [f"encoder.scratch.{name}={value}" for name, value in SCRATCH.items()]
    if asked.small:
        settings += ["optimiser.epochs=1", "optimiser.steps_per_epoch=2"]
    chain = load_chain("umls_names", settings)
    result = distil(chain, asked.folder(), places=Places(cache=asked.tokens))
    teacher, student = result.grades[0], result.grades[-1]
    assert student.test is not None
    yield Case(
        name="quality: umls_names",
        data=result.dataset,
        batch=chain.grades[-1].optimiser.batch,
        ours_cpu_s=student.cpu_seconds,
        more={
            "mrr": student.test.all.mrr,
            "released_mrr": RELEASED_MRR,
            "layers": student.layers,
            "teacher_cpu_s": teacher.cpu_seconds,
        },
    )
