"""Published weights of FID's Inception network: search, verification, conversion to safetensors.

They are published as a pickle, and a pickle can execute code. So that file is opened only if its SHA-256
begins as its name says, and even then with torch's `weights_only`; every other pickle is refused. The tensors
are kept as safetensors together with the checksum of the source and their own.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.core.atomic import atomic_write
from triptych.core.cache import cache_home, fetch
from triptych.core.errors import WeightsError
from triptych.metrics.extractors.base import tensors_hash
from triptych.metrics.extractors.inception import InceptionV3
from triptych.metrics.extractors.pretrained import NO_DOWNLOAD, searched_dirs, weight_dirs

KEPT = "inception-2015-12-05.safetensors"
PUBLISHED = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")
PREFIX = "6726825d"  # of the published file's SHA-256, as published in its name
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{PUBLISHED[0]}"
UNCOUNTED = "num_batches_tracked"  # of batch norms, in some versions of the file; unused

log = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Tensors by name, and whether they are known to come from the published file."""

    tensors: dict[str, Tensor]
    published: bool


def load_inception(path: Path | None = None) -> tuple[InceptionV3, bool]:
    """Load the network, and say whether its weights are known to be the published ones.

    path: a .safetensors file, or the published .pth; None searches $TRIPTYCH_DATA, then the user's cache, and
    finally downloads. Raises WeightsError if there are no weights, or none that may be used.
    """
    weights = find() if path is None else read(path)
    with torch.device("meta"):  # spends no time and no random numbers on weights that are replaced
        network = InceptionV3()
    _check_names(weights.tensors, network.state_dict(), path or Path(KEPT))
    network.load_state_dict(weights.tensors, assign=True)
    return network, weights.published


def find() -> Weights:
    """Find the published weights; a safetensors file takes precedence over the pickle."""
    files = [place / name for name in (KEPT, *PUBLISHED) for place in weight_dirs()]
    here = next((file for file in files if file.is_file()), None)
    return read(here) if here is not None else _converted(*_download())


def read(path: Path) -> Weights:
    """The weights in one file, .safetensors or the published .pth."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}: expected Inception weights as .safetensors")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _converted(path.read_bytes(), path)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a safetensors file ({error}): delete it and try again") from error
    tensors = _without_counters(tensors)
    if "weights_sha256" in about and about["weights_sha256"] != tensors_hash(tensors):
        raise WeightsError(f"{path} is damaged: its tensors are not those it names. Delete it and try again")
    known = "weights_sha256" in about and about.get("source_sha256", "").startswith(PREFIX)
    return Weights(tensors, known)


def _converted(pickled: bytes, path: Path) -> Weights:
    """Tensors of the published pickle, which are also stored as safetensors for later use."""
    digest = hashlib.sha256(pickled).hexdigest()
    if not digest.startswith(PREFIX):
        raise WeightsError(
            f"{path} is not the published file (its SHA-256 begins {digest[:8]}, not {PREFIX}), and other "
            "pickles are not opened, because they can run code: give the weights as a .safetensors file"
        )
    loaded = torch.load(io.BytesIO(pickled), map_location="cpu", weights_only=True)
    tensors = _without_counters(loaded)
    about = {
        "source": PUBLISHED[0],
        "source_sha256": digest,
        "weights_sha256": tensors_hash(tensors),
    }
    _keep(tensors, about)
    return Weights(tensors, True)


def _keep(tensors: Mapping[str, Tensor], about: dict[str, str]) -> None:
    from safetensors.torch import save_file

    home = cache_home() / "networks"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with atomic_write(home / KEPT) as partial:
            save_file({name: x.contiguous() for name, x in tensors.items()}, partial, about)
    except OSError as error:
        log.warning("the converted Inception weights could not be stored at %s (%s)", home / KEPT, error)


def _download() -> tuple[bytes, Path]:
    """Bytes of the published file; the pickle itself is not kept."""
    home = cache_home() / "networks"
    partial = home / f".{PUBLISHED[0]}.partial"
    try:
        home.mkdir(parents=True, exist_ok=True)
        fetch(URL, partial)
        return partial.read_bytes(), Path(URL)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"inception features need the published weights, which are not here and could not be downloaded "
            f"({error}). Looked for {KEPT} and {' and '.join(PUBLISHED)} in {searched_dirs()}, and at {URL}. "
            f"Put one of these files there, or name it: inception:PATH. {NO_DOWNLOAD}"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: x for name, x in tensors.items() if not name.endswith(UNCOUNTED)}


def _check_names(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError unless the tensors match the network in name, shape and dtype."""
    odd = sorted(tensors.keys() ^ wanted.keys())
    odd += [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    odd += [name for name in wanted if name in tensors and tensors[name].dtype != torch.float32]
    if odd:
        raise WeightsError(
            f"{path} does not hold FID's Inception network ({len(odd)} tensors are missing, unexpected or "
            f"of another shape or dtype, for example {odd[0]}): torchvision's Inception is another network"
        )
