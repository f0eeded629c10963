"""The machinery around the published weights, with a small network and files of our own in their place."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from triptych.core.errors import WeightsError
from triptych.metrics.extractors import inception_weights
from triptych.metrics.extractors.inception_weights import KEPT, PUBLISHED, load_inception

Home = tuple[Path, Path]  # $TRIPTYCH_DATA and the cache's folder of networks


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 5)


def weights(seed: int = 0) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(x.shape, generator=source) for name, x in Small().state_dict().items()}
    return tensors | {"bn.num_batches_tracked": torch.tensor(3)}  # as some versions of the file hold


def published(path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool = True) -> Path:
    """A file of our own that from now on passes for the published one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights(), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(
        inception_weights, "PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8], raising=True
    )
    return path


def is_ours(network: nn.Module, seed: int = 0) -> bool:
    own = weights(seed)
    return all(torch.equal(x, own[name]) for name, x in network.state_dict().items())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(inception_weights, "InceptionV3", Small)
    monkeypatch.setattr(inception_weights, "fetch", offline)
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data", tmp_path / "cache" / "networks"


def offline(url: str, target: Path) -> None:
    raise URLError("no network")


def serving(path: Path) -> Callable[[str, Path], None]:
    """A download that brings this file, through the machinery proper."""
    from triptych.core.cache import fetch

    return lambda url, target: fetch(path.as_uri(), target)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_pickle_is_converted_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    source = published(home[0] / name, monkeypatch, zipped)
    rng_state = torch.get_rng_state()
    network, known = load_inception()
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert is_ours(network) and known
    assert [p.name for p in home[1].iterdir()] == [KEPT]
    with safe_open(home[1] / KEPT, framework="pt") as file:
        about = file.metadata()
    assert about["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    source.unlink()
    monkeypatch.setattr(torch, "load", None)  # would crash
    again, known = load_inception()
    assert is_ours(again) and known


def test_download_is_verified_converted_and_the_pickle_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        inception_weights, "fetch", serving(published(tmp_path / "there" / "a.pth", monkeypatch))
    )
    network, known = load_inception()
    assert is_ours(network) and known
    assert [p.name for p in home[1].iterdir()] == [KEPT]


def test_download_of_another_file_is_refused_and_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.save(weights(), tmp_path / "other.pth")
    monkeypatch.setattr(inception_weights, "fetch", serving(tmp_path / "other.pth"))
    with pytest.raises(WeightsError, match=r"github.com.* is not the published file"):
        load_inception()
    assert list(home[1].iterdir()) == []


def test_offline_error_names_the_searched_folders_and_alternatives(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="no network") as caught:
        load_inception()
    message = str(caught.value)
    for part in (*map(str, home), KEPT, *PUBLISHED, inception_weights.URL, "inception:PATH"):
        assert part in message
    assert message.endswith("auto, domain-cnn, self-supervised, random-conv") and "not set" not in message
    monkeypatch.delenv("TRIPTYCH_DATA")
    with pytest.raises(WeightsError, match="TRIPTYCH_DATA is not set"):
        load_inception()


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


@pytest.mark.parametrize("right_sum", [False, True])
def test_malicious_pickle_is_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right_sum: bool, home: Home
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    torch.save({"conv.weight": Bomb()}, path)
    if right_sum:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(inception_weights, "PREFIX", digest[:8])
    with pytest.raises(WeightsError if not right_sum else pickle.UnpicklingError):
        load_inception(path)
    assert not (tmp_path / "exploded").exists()


def test_any_other_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(weights(), tmp_path / "own.pth")
    monkeypatch.setattr(torch, "load", None)  # it is not even opened
    with pytest.raises(WeightsError, match=r"own.pth is not the published file .* \.safetensors file"):
        load_inception(tmp_path / "own.pth")


def test_own_weights_are_used_but_not_called_published(tmp_path: Path) -> None:
    save_file(weights(1), tmp_path / "own.safetensors")
    network, known = load_inception(tmp_path / "own.safetensors")
    assert is_ours(network, 1) and not known


def test_search_order_is_safetensors_before_pickle_and_data_before_cache(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(home[0] / PUBLISHED[0], monkeypatch)
    home[1].mkdir(parents=True)
    save_file(weights(1), home[1] / KEPT)
    assert is_ours(load_inception()[0], 1)
    save_file(weights(2), home[0] / KEPT)
    assert is_ours(load_inception()[0], 2)


def test_damaged_and_forged_weights_are_detected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    published(home[0] / PUBLISHED[0], monkeypatch)
    load_inception()
    kept = home[1] / KEPT
    with safe_open(kept, framework="pt") as file:
        about = file.metadata()
    whole = bytearray(kept.read_bytes())
    whole[-3] ^= 1
    kept.write_bytes(whole)
    with pytest.raises(WeightsError, match="is damaged: its tensors are not those it names"):
        load_inception()
    kept.write_bytes(whole[:-8])
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_inception()
    del about["weights_sha256"]  # a source alone proves nothing
    save_file(weights(1), kept, about)
    assert not load_inception()[1]


@pytest.mark.parametrize("change", ["missing", "more", "shape", "type"])
def test_another_network_is_refused(tmp_path: Path, change: str) -> None:
    tensors = weights()
    if change == "missing":
        del tensors["fc.bias"]
    elif change == "more":
        tensors["AuxLogits.fc.bias"] = torch.zeros(2)
    else:
        tensors["fc.bias"] = torch.zeros(3) if change == "shape" else torch.zeros(5).double()
    save_file(tensors, tmp_path / "other.safetensors")
    odd = "AuxLogits.fc.bias" if change == "more" else "fc.bias"
    with pytest.raises(WeightsError, match=rf"\(1 tensors .*for example {re.escape(odd)}\): torchvision's"):
        load_inception(tmp_path / "other.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no file .*gone.safetensors"):
        load_inception(tmp_path / "gone.safetensors")


def test_unwritable_cache_is_only_a_warning(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    published(home[0] / PUBLISHED[0], monkeypatch)
    home[1].parent.write_text("a file where the folder should be")
    network, known = load_inception()
    assert is_ours(network) and known and "could not be stored" in caplog.text
