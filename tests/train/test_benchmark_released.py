"""The benchmarks' literal version of the released code does the product's job: equal tokens, losses, vectors, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import tiny_chain
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inputs import Asked
from benchmarks.product import PARTS, Product, last_stage, training_of, untrained
from benchmarks.released.beside import maker_of, towers_of, training_beside, triples_of
from benchmarks.released.evaluation import entity_vectors, query_vectors, ranks
from benchmarks.released.examples import Draw, KnownLinks, Triple
from benchmarks.released.towers import Counted, masked_vectors
from benchmarks.released.training import Training
from pmd_ray.kg.known import with_inverses
from pmd_ray.model.operations import WITH_BACKWARD, forward_operations
from pmd_ray.model.ranking import rank_queries
from pmd_ray.spec.ragged import TokenRows
from pmd_ray.train.batches import Batch, TowerBatch
from pmd_ray.train.evaluate import encode_all, known_of

pytestmark = pytest.mark.whole

PHASES = {"data", "student forward", "teacher", "losses", "backward", "optimiser"}
BATCH = 12


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("released")
    return Asked(work=folder, data=tiny_chain.written_graph(folder), encoder="scratch")


def both(
    asked: Asked, *, rate: float = 0.2, layers: tuple[int, ...] = (6, 3), **settings: Any
) -> tuple[Product, Training]:
    """A training without dropout, and the released code's, which masks what the product masks in its first step."""
    chain = asked.chain(
        "any",
        layers=list(layers),
        mask_rates=[rate] * (len(layers) - 1),
        encoder__dropout=0.0,
        optimiser__batch=BATCH,
        optimiser__clip=1e6,
        **settings,
    )
    shop = asked.shop(chain)
    product = Product(training_of(last_stage(chain, shop, asked.folder()), shop))
    return product, training_beside(product.training, draw=same_positions(product.training.batches.make(0, 0)))


def same_positions(batch: Batch) -> Draw:
    """The positions that the product draws for each query of a batch; heads have none."""
    queries = triples_of(batch.queries)
    sides = {"hr": batch.hr, "tail": batch.tail}

    def draw(role: str, triple: Triple, length: int) -> list[int]:
        if role == "head" or triple not in queries:
            return []
        row = int(batch.rows["hr" if role == "hr" else "tail"][queries.index(triple)])
        return _positions(sides[role], row)

    return draw


def _positions(side: TowerBatch, row: int) -> list[int]:
    low, high = side.tokens.ids.offsets[row : row + 2]
    inside = (side.drawn.places >= low) & (side.drawn.places < high)
    return list(np.repeat(side.drawn.places[inside] - low, side.drawn.weights[inside]))


def test_it_reads_the_same_tokens(asked: Asked) -> None:
    """Descriptions, neighbours without the answer, inverse relations, cut to the same length."""
    product, released = both(asked, rate=0.0)
    batches = product.training.batches
    texts, queries = batches.texts, batches.queries
    heads, relations, tails = queries.T
    rows: dict[str, TokenRows] = {
        "hr": texts.query_rows(heads, relations, batches.head_left_out),
        "tail": texts.entity_rows(tails, batches.tail_left_out),
        "head": texts.entity_rows(heads, batches.head_left_out),
    }
    for place, triple in enumerate(triples_of(queries)):
        made = released.maker.vectorise(triple)
        for role, wanted in rows.items():
            assert made[role]["ids"] == wanted.ids[place].tolist(), (role, triple)
            assert made[role]["types"] == wanted.segments[place].tolist(), (role, triple)
    assert (batches.head_left_out >= 0).any()


@pytest.mark.parametrize(
    ("rate", "layers", "parts"),
    [(0.2, (6, 3), 3), (0.0, (6, 3), 3), (0.0, (6,), 1)],
    ids=["mask 0.2", "mask 0, teacher looked up", "plain teacher"],
)
def test_its_losses_and_gradients_are_those_of_pmd_code(
    asked: Asked, rate: float, layers: tuple[int, ...], parts: int
) -> None:
    product, released = both(asked, rate=rate, layers=layers)
    batch = product.training.batches.make(0, 0)
    triples = triples_of(batch.queries)
    assert len(set(triples)) == BATCH
    assert not rate or len(batch.hr.drawn.places) > BATCH / 2
    product.tabulate(range(1))
    wanted = released.losses_of(triples)
    torch.autograd.backward(wanted["total"])
    found = product.training.step.run(batch, epoch=0, step=0, done=0, detailed=False)
    assert len(found.parts) == parts
    assert found.loss == pytest.approx(wanted["total"].item(), rel=1e-5)
    for name, value in found.parts.items():
        assert value == pytest.approx(wanted[name].item(), rel=1e-5, abs=1e-7), name
    _assert_equal_gradients(product, released)


def _assert_equal_gradients(product: Product, released: Training) -> None:
    model, student = product.training.model, released.student
    ours = {**dict(model.hr.named_parameters("hr")), **dict(model.tail.named_parameters("tail"))}
    theirs = {**dict(student.hr_bert.named_parameters("hr")), **dict(student.tail_bert.named_parameters("tail"))}
    length = max(weight.grad.norm() for weight in ours.values() if weight.grad is not None)
    for name, weight in ours.items():
        mine, its = weight.grad, theirs[name].grad
        assert mine is not None and its is not None, name
        if len(mine) < len(its):  # vectors of words that no text has are not in our optimiser
            words = product.training.batches.words()
            assert not np.delete(its.numpy(), words, axis=0).any()
            its = its[words]
        # A key's bias has no gradient but rounding.
        assert (mine - its).norm() <= 1e-4 * torch.maximum(mine.norm(), 0.01 * length), name


def test_it_works_as_much_as_the_released_code(asked: Asked) -> None:
    """Three encodings a triple, each occurrence for itself, every text as long as the longest of its batch."""
    product, released = both(asked)
    assert released.teacher is not None
    triples = triples_of(product.queries(0))
    batch = released.batch(triples)
    released.losses_of(triples)
    for towers in (released.student, released.teacher):
        counted: Counted = towers.counted
        lengths = [(len(batch[role]["ids"]), batch[role]["ids"].shape[1]) for role in ("hr", "tail", "head")]
        assert counted.padded_texts == lengths
        assert counted.encodings == 3 * BATCH
        assert counted.padded_tokens == sum(rows * length for rows, length in lengths)
        assert counted.real_tokens == sum(int(batch[role]["mask"].sum()) for role in ("hr", "tail", "head"))
        assert counted.real_tokens < counted.padded_tokens
    assert counted.real_tokens > product.tokens(0)


def test_its_pooling_takes_a_gradient_of_all_states_for_each_row() -> None:
    """What makes the released code's backward pass quadratic in the batch (method notes, C12)."""
    made: list[torch.Size] = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            out = function(*given, **(named or {}))
            if function is torch.ops.aten.select_backward.default:
                made.append(out.shape)
            return out

    states = torch.randn(7, 5, 4, requires_grad=True)
    vectors = masked_vectors(states, [[1, 2], [], [3], [1], [2], [4], [1]])
    with Seen():
        vectors.sum().backward()  # type: ignore[no-untyped-call]
    assert made == [states.shape] * 6


def test_operations_are_those_that_torch_counts(asked: Asked) -> None:
    """Of its attention kernels torch counts the plain one alone on a CPU."""
    product, released = both(asked)
    batch = released.batch(triples_of(product.queries(0)))
    towers, config = released.student, product.training.model.config
    config.num_hidden_layers = product.training.model.layers
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        towers.eval()(batch, "student_")
    padded = np.concatenate([np.full(*pair) for pair in towers.counted.padded_texts or []])
    poolers = 3 * BATCH * 2 * config.hidden_size**2
    assert counter.get_total_flops() == forward_operations(padded, config, 3) + poolers


def test_the_limit_counts_distinct_texts_without_padding(asked: Asked) -> None:
    product, _ = both(asked, mask__per="text")
    batch, training = product.training.batches.make(0, 0), product.training
    assert training.teacher is not None
    wanted = 0.0
    for side in (batch.hr, batch.tail):
        assert len({tuple(side.tokens.ids[row].tolist()) for row in range(len(side.tokens))}) == len(side.tokens)
        for length in side.tokens.ids.lengths:
            wanted += (3 * WITH_BACKWARD + 6) * forward_operations(np.array([length]), training.model.config, 1)
    assert product.operations(0) == pytest.approx(wanted)
    looked_up, _ = both(asked, rate=0.0, mask__per="text")
    assert looked_up.operations(0) == pytest.approx(wanted * 9 / 15)


def test_a_step_is_told_by_phase(asked: Asked) -> None:
    product, released = both(asked)
    before = [getattr(owner, method) for owner, method, _ in PARTS]
    for phases in (product.step(0), released.step(triples_of(product.queries(0)))):
        assert set(phases) == PHASES
        assert all(spent > 0 for spent in phases.values())
    assert before == [getattr(owner, method) for owner, method, _ in PARTS]


def test_a_constant_teacher_is_looked_up(asked: Asked) -> None:
    product, _ = both(asked, rate=0.0)
    assert product.tabulate(range(2)) > 0
    assert product.step(0)["teacher"] < product.step(1)["student forward"]
    live, _ = both(asked, rate=0.2)
    assert live.tabulate(range(2)) == 0.0


def test_its_vectors_and_ranks_are_the_product_s(asked: Asked) -> None:
    chain = asked.chain("any", layers=[2], encoder__dropout=0.0)
    shop = asked.shop(chain)
    graph, model = shop.graph, untrained(chain, shop).eval()
    queries = with_inverses(graph.test, graph.num_relations)
    towers, maker = towers_of(model), maker_of(shop.texts, shop.source.wordpieces, training=False)
    entities_ED = encode_all(model, "tail", shop.texts.entity_rows, graph.num_entities, workers=tiny_chain.ALONE)
    queries_QD = encode_all(
        model,
        "hr",
        lambda rows: shop.texts.query_rows(queries[rows, 0], queries[rows, 1]),
        len(queries),
        workers=tiny_chain.ALONE,
    )
    triples = triples_of(queries)
    assert torch.allclose(entity_vectors(towers, maker, range(graph.num_entities)), entities_ED, atol=1e-5)
    assert torch.allclose(query_vectors(towers, maker, triples), queries_QD, atol=1e-5)
    assert towers.counted.encodings == graph.num_entities + 3 * len(queries)
    found = ranks(queries_QD, entities_ED, triples, KnownLinks(graph, graph.train, graph.valid, graph.test))
    known = known_of(graph).tails(queries[:, 0], queries[:, 1])
    assert found == rank_queries(queries_QD, entities_ED, queries[:, 2], known).ranks.tolist()


def test_descriptions_are_cut_without_changing_tokens(tmp_path: Path, asked: Asked) -> None:
    product, released = both(asked, rate=0.0, dataset__text__max_tokens=12)
    batches = product.training.batches
    rows = batches.texts.entity_rows(batches.queries[:, 2], batches.tail_left_out)
    made = [released.maker.vectorise(triple)["tail"]["ids"] for triple in triples_of(batches.queries)]
    assert made == [rows.ids[place].tolist() for place in range(len(rows))]
