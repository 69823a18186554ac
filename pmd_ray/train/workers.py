"""The workers of one training: who I am, gathering rows over all of them, summing gradients.

Works in one process, under `torchrun` (its environment variables) and inside a process group that Ray Train has made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pmd_ray.spec.disk import storing
from pmd_ray.spec.errors import StorageError

BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}
"""Of a process group: what hosts tell each other goes over gloo, so that no GPU is waited for."""
PIECE_BYTES = 1 << 26
"""Of a file, sent at once."""


@dataclass(frozen=True)
class Workers:
    """This worker's rank among `size` workers, and its device."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device | None = None) -> Workers:
        """Join the process group that is there, the one `torchrun` describes, or stand alone."""
        if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ:
            dist.init_process_group(BACKENDS["cuda" if torch.cuda.is_available() else "cpu"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if device is None:
            device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def leads(self) -> bool:
        """Whether this worker writes files."""
        return self.rank == 0

    def counts(self, *lengths: int) -> list[list[int]]:
        """What all workers hold: of each length those of worker 0, 1, ... No GPU is waited for."""
        if self.size == 1:
            return [[length] for length in lengths]
        mine = torch.tensor(lengths)
        every = [torch.zeros_like(mine) for _ in range(self.size)]
        dist.all_gather(every, mine)
        found: list[list[int]] = torch.stack(every, dim=1).tolist()
        return found

    def gather(self, tensor: Tensor, dim: int = 0, *, lengths: Sequence[int] | None = None) -> Tensor:
        """All workers' rows one after the other along `dim`, whatever their number; no gradient.

        Args:
            lengths: How many each worker has, where that is known; else they are asked.
        """
        if self.size == 1:
            return tensor.detach()
        rows = tensor.detach().movedim(dim, 0).contiguous()
        lengths = self.counts(len(rows))[0] if lengths is None else lengths
        longest = max(lengths)
        as_bytes = rows.dtype == torch.bool
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        padded = padded.to(torch.uint8) if as_bytes else padded
        every = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(every, padded)
        joined = torch.cat([part[:length] for part, length in zip(every, lengths, strict=True)])
        return (joined.bool() if as_bytes else joined).movedim(0, dim)

    def total(self, values: Tensor) -> Tensor:
        """The sum over workers."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def votes(self, asked: Sequence[bool]) -> list[bool]:
        """Of each question whether any worker says yes; no GPU is waited for."""
        if self.size == 1:
            return list(asked)
        return [count > 0 for count in self.total(torch.tensor(asked, dtype=torch.int64)).tolist()]

    def sum_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of every weight over workers, in buckets of 64 MiB.

        Each worker's loss is that of the whole batch, differentiated by its own texts: the sum is the full gradient,
        no average is due.
        """
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for weight in weights:
            if weight.grad is None:  # All workers must take part with the same tensors.
                weight.grad = torch.zeros_like(weight)
            bucket.append(weight.grad)
            size += weight.grad.numel() * weight.grad.element_size()
            if size >= 64 * 2**20:
                _sum_bucket(bucket)
                bucket, size = [], 0
        if bucket:
            _sum_bucket(bucket)

    def sum_rows(self, table: nn.Parameter, rows_V: Tensor, *, lengths: Sequence[int]) -> None:
        """The same for a table [W, D] whose gradients have few rows that are not 0: these alone are sent.

        Args:
            table: With a gradient that is 0 in all other rows.
            rows_V: This worker's rows, each once.
            lengths: How many rows each worker has.
        """
        if self.size == 1:
            return
        if 2 * sum(lengths) > len(table):  # sent as it is, it is less
            self.sum_gradients([table])
            return
        if table.grad is None:
            table.grad = torch.zeros_like(table)
        rows, values_D = self.gather(rows_V, lengths=lengths), self.gather(table.grad[rows_V], lengths=lengths)
        table.grad.index_fill_(0, rows_V, 0.0)
        # Worker by worker, so that all add up in the same order.
        for own_rows, own_values in zip(
            torch.split(rows, list(lengths)), torch.split(values_D, list(lengths)), strict=True
        ):
            table.grad.index_add_(0, own_rows, own_values)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The leader's values on every worker."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def shared(self, data: bytes) -> bytes:
        """The leader's bytes on every worker, whatever the others give."""
        if self.size == 1:
            return data
        length = int(self.broadcast(torch.tensor([len(data)], device=self.device)))
        return self._sent(data, length) if length else b""

    @contextmanager
    def file(self, path: Path) -> Iterator[Path]:
        """The leader's file as every worker may read it: itself, or a copy for as long as the context lasts.

        Raises:
            StorageError: there is no room for a copy.
        """
        if self.size == 1:
            yield path
            return
        length = int(self.broadcast(torch.tensor([path.stat().st_size if self.leads else 0], device=self.device)))
        with ExitStack() as stack:
            if self.leads:
                source = stack.enter_context(path.open("rb"))
            else:
                copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="pmd-"))
                path = Path(copy.name)
            for start in range(0, length, PIECE_BYTES):
                count = min(PIECE_BYTES, length - start)
                part = self._sent(source.read(count) if self.leads else b"", count)
                if not self.leads:
                    with storing(path):
                        copy.write(part)
                        copy.flush()
            yield path

    def _sent(self, data: bytes, count: int) -> bytes:
        """So many bytes of the leader."""
        held = torch.frombuffer(bytearray(data if self.leads else count), dtype=torch.uint8).to(self.device)
        return bytes(self.broadcast(held).cpu().numpy())

    def lead(self, write: Callable[[], None]) -> None:
        """Let the leader write, the others waiting for it; where the disk refuses, all of them stop with its message.

        Without that the others would wait for a leader that is gone until the process group's own timeout.
        """
        failed = ""
        if self.leads:
            try:
                write()
            except StorageError as error:
                failed = str(error)
                if self.size == 1:
                    raise
        if self.size > 1:
            # The message as bytes: gathering objects would pickle.
            told = torch.tensor(list(failed.encode()) if self.leads else [], dtype=torch.uint8, device=self.device)
            failed = bytes(self.gather(told).tolist()).decode()
        if failed:
            raise StorageError(failed)

    def agree(self, weights: Iterable[nn.Parameter]) -> None:
        """Take the leader's gradients of weights that every worker computes in full (temperature, projectors).

        On a CPU they are equal already; on a GPU sums by atomic addition differ in their last bits, and weights would
        drift apart.
        """
        for weight in weights:
            if weight.grad is not None:
                self.broadcast(weight.grad)

    def wait(self) -> None:
        """Until all workers are here."""
        if self.size > 1:
            dist.barrier()


def _sum_bucket(bucket: list[Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in bucket])
    dist.all_reduce(flat)
    start = 0
    for gradient in bucket:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
