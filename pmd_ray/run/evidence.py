"""What stands beside a trained stage for its card: costs and origin, written by the process that led its training."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pmd_ray.model.folder import load_trained
from pmd_ray.run.folder import write_whole
from pmd_ray.spec.chain_stages import device_class
from pmd_ray.store.provenance import gather
from pmd_ray.train.costs import COSTS, Costs, PeakMemory, latency_ms
from pmd_ray.train.precision import autocast_for
from pmd_ray.train.stage import Stage
from pmd_ray.train.workshop import Workshop

PROVENANCE = "provenance.json"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a stage's card says of its training that a stage alone does not know."""

    command: str = field(repr=False)
    """That asked for it."""

    @staticmethod
    def is_there(stage: Stage) -> bool:
        """Whether it was written: a process may end between a stage's last file and this."""
        return (stage.out / PROVENANCE).is_file()

    def write(self, stage: Stage, shop: Workshop, device: torch.device, memory: PeakMemory) -> None:
        """Into a finished stage's folder; the memory is looked at before the latency is measured."""
        resident, gpu = memory.resident(), memory.gpu()
        model = load_trained(stage.out / "model", device=device).model.eval()
        costs = Costs(
            latency_ms=latency_ms(model, shop.texts, device, autocast_for(stage.grade.optimiser, device)),
            peak_memory_bytes=resident,
            gpu_memory_bytes=gpu,
            device=device_class(stage.grade.optimiser, device.type),
            threads=torch.get_num_threads(),
        )
        write_whole(stage.out / COSTS, costs.model_dump_json(indent=2))
        provenance = gather(
            dataset=(shop.graph.name, shop.graph.fingerprint),
            encoder=(stage.chain.encoder.name, shop.source.fingerprint),
            command=self.command,
            threads=torch.get_num_threads(),
        )
        write_whole(stage.out / PROVENANCE, provenance.model_dump_json(indent=2))
