"""DINOv2 and CLIP with tiny random models, saved and read as published ones are."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from triptych.core.errors import WeightsError
from triptych.metrics.extractors import vit
from triptych.metrics.extractors.pretrained import PretrainedExtractor
from triptych.metrics.extractors.resize import PillowBicubic
from triptych.metrics.extractors.vit import (
    CLIP,
    DINOV2,
    IMAGENET,
    OPENAI,
    dinov2_flops_if_available,
    load_clip,
    load_dinov2,
)

transformers = pytest.importorskip("transformers")

TINY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
TEXT: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "vocab_size": 20, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a DINOv2 and a CLIP as the library saves them."""
    home = tmp_path_factory.mktemp("published")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dino = transformers.Dinov2Config(**TINY, image_size=42)
        transformers.Dinov2Model(dino).save_pretrained(home / "dinov2-large")
        eye = {**TINY, "intermediate_size": 16, "image_size": 28, "projection_dim": 8}
        clip = transformers.CLIPConfig(vision_config=eye, text_config=TEXT, projection_dim=8)
        transformers.CLIPModel(clip).save_pretrained(home / "clip-vit-large-patch14")
    return home


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_DATA", raising=False)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))


def copy(folder: Path, to: Path, **config: object) -> Path:
    to.mkdir()
    save_file(load_file(folder / "model.safetensors"), to / "model.safetensors", {"format": "pt"})
    known = json.loads((folder / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**known, **config}))
    return to


def test_flops_of_local_weights_follow_their_size(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *asked: None)
    assert dinov2_flops_if_available() is None
    monkeypatch.setenv("TRIPTYCH_DATA", str(published))
    assert dinov2_flops_if_available() == 24 * 16**2 * 2 * (16**2 + 1)
    copy(published / "dinov2-large", tmp_path / "dinov2-large", hidden_size=1024, num_hidden_layers=24)
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path))
    assert dinov2_flops_if_available() == pytest.approx(1.6e11, rel=0.05)  # ViT-L/14
    (tmp_path / "dinov2-large" / "config.json").write_text('{"model_type": "clip"}')
    assert dinov2_flops_if_available() is None
    monkeypatch.delenv("TRIPTYCH_DATA")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *asked: str(published / "dinov2-large" / asked[1])
    )
    assert dinov2_flops_if_available() is not None
    monkeypatch.setattr(vit, "find_spec", lambda name: None)
    assert dinov2_flops_if_available() is None


@torch.inference_mode()
def test_dinov2_gives_its_class_token(published: Path) -> None:
    network = load_dinov2(published / "dinov2-large")
    assert (network.title, network.width, network.size_px) == ("dinov2-vit16x2p14", 16, 224)
    images = torch.randn(2, 3, 224, 224)
    whole = transformers.Dinov2Model.from_pretrained(published / "dinov2-large").eval()(images)
    result = network.eval().features(images)
    torch.testing.assert_close(result, whole.last_hidden_state[:, 0])
    torch.testing.assert_close(result, whole.pooler_output)
    assert result.std(0).min() > 0


@torch.inference_mode()
def test_clip_gives_its_projected_embedding(published: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = load_clip(published / "clip-vit-large-patch14").eval()
    assert (network.title, network.width, network.size_px) == ("clip-vit16x2p14", 8, 28)
    assert caplog.text == ""  # of the text encoder's tensors, which are left over
    images = torch.randn(2, 3, 28, 28)
    whole = transformers.CLIPModel.from_pretrained(published / "clip-vit-large-patch14").eval()
    pooled = whole.vision_model(pixel_values=images).pooler_output
    torch.testing.assert_close(network.features(images), pooled @ whole.visual_projection.weight.T)


def test_pixels_are_scaled_as_in_the_papers(published: Path) -> None:
    gray = torch.full((1, 3, 2, 2), 255 * 0.456)
    torch.testing.assert_close(IMAGENET(gray)[0, :, 0, 0], torch.tensor([-0.029 / 0.229, 0, 0.05 / 0.225]))
    white = OPENAI(torch.full((1, 3, 2, 2), 255.0))[0, :, 0, 0]
    mean, std = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    torch.testing.assert_close(white, (1 - mean) / std)
    network = load_clip(published / "clip-vit-large-patch14")
    extractor = PretrainedExtractor(network, "clip", PillowBicubic(28, "uint8"), OPENAI, batch=2)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    given = ((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255) - mean[:, None, None]) / std[:, None, None]
    wanted = network.features(given).detach().numpy()
    np.testing.assert_allclose(extractor(pixels), wanted, rtol=1e-4, atol=1e-5)


def test_weights_are_found_under_triptych_data(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_DATA", str(published))
    assert load_dinov2().width == 16
    assert load_clip().width == 8


def test_half_precision_weights_are_computed_in_float32(published: Path, tmp_path: Path) -> None:
    folder = copy(published / "dinov2-large", tmp_path / "half", dtype="float16", torch_dtype="float16")
    halves = {name: x.half() for name, x in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    assert {x.dtype for x in load_dinov2(folder).state_dict().values()} == {torch.float32}


def test_missing_tensor_is_not_initialized_at_random(published: Path, tmp_path: Path) -> None:
    folder = copy(published / "dinov2-large", tmp_path / "cut")
    tensors = load_file(folder / "model.safetensors")
    del tensors["embeddings.patch_embeddings.projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    rng_state = torch.get_rng_state()
    with pytest.raises(WeightsError, match=r"lacks 1 of the network's tensors, for example \S+\.weight"):
        load_dinov2(folder)
    assert torch.equal(torch.get_rng_state(), rng_state)


def test_incompatible_and_damaged_weights_raise_weights_error(published: Path, tmp_path: Path) -> None:
    folder = copy(published / "dinov2-large", tmp_path / "wide", hidden_size=32)
    with pytest.raises(WeightsError, match="damaged or incompatible weights"):
        load_dinov2(folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match="damaged or incompatible weights"):
        load_dinov2(folder)


def test_pickled_weights_are_not_opened(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(published / "dinov2-large", tmp_path / "old")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(WeightsError, match=r"contains no model.safetensors .* pickled weights can run code"):
        load_dinov2(folder)


def test_another_model_or_none_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a model of type 'clip': dinov2 features need dinov2"):
        load_dinov2(published / "clip-vit-large-patch14")
    with pytest.raises(WeightsError, match="there is no folder"):
        load_dinov2(tmp_path / "gone")
    with pytest.raises(WeightsError, match=r"config.json cannot be read"):
        load_clip(tmp_path)


@pytest.mark.parametrize("reachable", [False, True])
@pytest.mark.parametrize("kind", [DINOV2, CLIP])
def test_the_hub_is_queried_last_and_for_safetensors(
    kind: Any, reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[dict[str, Any]] = []

    def absent(where: str, **options: Any) -> None:
        requests.append({"where": where, **options})
        raise OSError("nothing there")

    def unreachable(url: str, timeout: float) -> None:
        assert kind.hub in url and url.endswith("model.safetensors")
        if not reachable:
            raise OSError("no network")

    monkeypatch.setattr(getattr(transformers, kind.loader), "from_pretrained", absent)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    with pytest.raises(WeightsError, match="are not available") as caught:
        vit._open(kind, None)
    assert [one["local_files_only"] for one in requests] == [True, False][: 1 + reachable]
    for one in requests:
        assert one["where"] == kind.hub and one["use_safetensors"] and "trust_remote_code" not in one
    message = str(caught.value)
    problem = "nothing there" if reachable else "no network"
    for part in (problem, kind.hub, "TRIPTYCH_DATA is not set", f"{kind.name}:PATH", "random-conv"):
        assert part in message


def test_missing_library_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def blocked(name: str, *rest: Any) -> Any:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(WeightsError, match=r"pip install 'triptych\[text\]'. Features that need no download"):
        load_dinov2()


@pytest.mark.parametrize(
    ("hidden", "layers", "patch", "title"),
    [
        (1024, 24, 14, "x-vitl14"),
        (768, 12, 32, "x-vitb32"),
        (384, 12, 14, "x-vits14"),
        (8, 1, 4, "x-vit8x1p4"),
    ],
)
def test_titles(hidden: int, layers: int, patch: int, title: str) -> None:
    config = transformers.Dinov2Config(hidden_size=hidden, num_hidden_layers=layers, patch_size=patch)
    assert vit._title("x", config) == title
