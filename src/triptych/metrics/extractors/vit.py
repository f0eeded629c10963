"""DINOv2 and CLIP as feature networks, through the transformers library where it is installed.

Weights are read from safetensors only, and no code that comes with them is run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from triptych.core.errors import WeightsError
from triptych.metrics.extractors.base import FeatureNetwork
from triptych.metrics.extractors.pretrained import NO_DOWNLOAD, Scaling, read_json, searched_dirs, weight_dirs

IMAGENET = Scaling("ImageNet mean and std", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
OPENAI = Scaling(
    "CLIP mean and std",
    (122.7709383, 116.7460125, 104.09373615),
    (68.5005327, 66.6321579, 70.32316305),
)
SIZES = {(384, 12): "vits", (768, 12): "vitb", (1024, 24): "vitl", (1280, 32): "vith", (1536, 40): "vitg"}

log = logging.getLogger(__name__)


class PublishedModel(NamedTuple):
    """One kind of published transformer: where it lies and which class of the library holds it."""

    name: str
    hub: str
    types: tuple[str, ...]  # model_type in its config.json
    loader: str


DINOV2 = PublishedModel("dinov2", "facebook/dinov2-large", ("dinov2",), "Dinov2Model")
CLIP = PublishedModel(
    "clip", "openai/clip-vit-large-patch14", ("clip", "clip_vision_model"), "CLIPVisionModelWithProjection"
)


class DINOv2(FeatureNetwork):
    """DINOv2 (Oquab et al. 2024): the normalised class token, 1024 features with ViT-L/14.

    At 224 px positions are interpolated as transformers does it, not as the authors' own code does:
    features differ slightly from those of dgm-eval.
    """

    SIDE_PX = 224

    def __init__(self, model: Any) -> None:
        super().__init__(3, model.config.hidden_size, 0, repeat_gray=True)
        self.model, self.size_px = model, self.SIDE_PX
        self.title = _title("dinov2", model.config)

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, 224, 224) float32, scaled by ImageNet's mean and std -> (B, width)."""
        return self.model(pixel_values=pictures).last_hidden_state[:, 0]


class CLIPImageEncoder(FeatureNetwork):
    """CLIP's picture encoder (Radford et al. 2021): its projected embedding, not normalised; 768 features
    with ViT-L/14.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(3, model.config.projection_dim, 0, repeat_gray=True)
        self.model, self.size_px = model, model.config.image_size
        self.title = _title("clip", model.config)

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, size, size) float32, scaled by CLIP's mean and std -> (B, width)."""
        return self.model(pixel_values=pictures).image_embeds


def load_dinov2(path: Path | None = None) -> DINOv2:
    """DINOv2 from a folder, $TRIPTYCH_DATA/dinov2-large, the hub's cache or the hub (ViT-L/14)."""
    return DINOv2(_opened(DINOV2, path))


def load_clip(path: Path | None = None) -> CLIPImageEncoder:
    """CLIP from a folder, $TRIPTYCH_DATA/clip-vit-large-patch14, the hub's cache or the hub."""
    return CLIPImageEncoder(_opened(CLIP, path))


def dinov2_flops_if_available() -> int | None:
    """What DINOv2 would cost where it needs no download: about how many FLOP an image.

    Looks at names and one small JSON file; neither the library nor the weights are loaded.

    Returns:
        None where the transformers library or the weights are not here, or are not DINOv2's.
    """
    if find_spec("transformers") is None:
        return None
    folders = [place / DINOV2.hub.split("/")[1] for place in weight_dirs()]
    with suppress(ImportError, OSError, ValueError):  # a cache that cannot be read holds nothing
        from huggingface_hub import try_to_load_from_cache

        kept = try_to_load_from_cache(DINOV2.hub, "config.json")
        folders += [Path(kept).parent] if isinstance(kept, str) else []
    found = next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)
    if found is None:
        return None
    try:
        config = read_json(found / "config.json")
        width, depth = int(config["hidden_size"]), int(config["num_hidden_layers"])
        tokens = (DINOv2.SIDE_PX // int(config["patch_size"])) ** 2 + 1
    except (WeightsError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if config.get("model_type") not in DINOV2.types:
        return None
    return 24 * width**2 * depth * tokens  # 12 width^2 weights a block, multiplied and added once a token


def _title(kind: str, config: Any) -> str:
    """ "dinov2-vitl14": with the width and depth spelt out where they are no published size."""
    shape = (config.hidden_size, config.num_hidden_layers)
    size = SIZES.get(shape, f"vit{shape[0]}x{shape[1]}p")
    return f"{kind}-{size}{config.patch_size}"


def _opened(kind: PublishedModel, path: Path | None) -> Any:
    """The library's model in float32. Raises WeightsError where library or weights are absent."""
    try:
        import transformers

        loader = getattr(transformers, kind.loader)
    except ImportError as error:
        raise WeightsError(
            f"{kind.name} features need the transformers library ({error}): "
            f"pip install 'triptych[text]'. {NO_DOWNLOAD}"
        ) from error
    if path is not None:
        return _from_folder(loader, kind, path)
    for place in weight_dirs():
        if (folder := place / kind.hub.split("/")[1]).is_dir():
            return _from_folder(loader, kind, folder)
    try:
        with suppress(OSError):
            return _read(loader, kind.hub, local=True)
        log.warning("%s is not in the hub's cache: asking the hub for it", kind.hub)
        _look_at(kind.hub)
        return _read(loader, kind.hub, local=False)
    except WeightsError:
        raise
    except Exception as error:  # the hub's client has errors of its own, which change with its version
        raise WeightsError(
            f"{kind.name} features need the weights {kind.hub}, which are not to be had "
            f"({_first_line(error)}). Looked for a folder {kind.hub.split('/')[1]} in "
            f"{searched_dirs()}, in the hub's cache and at the hub. Name a folder with {kind.name}:PATH. "
            f"{NO_DOWNLOAD}"
        ) from error


def _look_at(hub: str) -> None:
    """Raises one of many errors where the hub's safetensors are out of reach.

    The library itself would try half a minute long.
    """
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(hub, "model.safetensors")
    huggingface_hub.get_hf_file_metadata(url, timeout=10)


def _from_folder(loader: Any, kind: PublishedModel, folder: Path) -> Any:
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {folder}: expected one with config.json and model.safetensors"
        )
    config = read_json(folder / "config.json")
    if config.get("model_type") not in kind.types:
        raise WeightsError(
            f"{folder} holds a model of type {config.get('model_type')!r}: {kind.name} features need "
            f"{' or '.join(kind.types)}"
        )
    try:
        return _read(loader, str(folder), local=True)
    except OSError as error:
        raise WeightsError(
            f"{folder} holds no model.safetensors ({_first_line(error)}): pickled weights can run code and "
            "are not opened"
        ) from error
    except (RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder} holds damaged or unfitting weights ({_first_line(error)})") from error


def _read(loader: Any, where: str, local: bool) -> Any:
    """Raises OSError where there are no safetensors, WeightsError where some weights are missing."""
    with torch.random.fork_rng(devices=[]), _quiet():
        model, about = loader.from_pretrained(
            where, local_files_only=local, use_safetensors=True, output_loading_info=True
        )
    if lacking := sorted(map(str, about["missing_keys"])):  # the library has drawn them at random
        raise WeightsError(f"{where} lacks {len(lacking)} of the network's tensors, {lacking[0]} for one")
    return model.float()


@contextmanager
def _quiet() -> Iterator[None]:
    """No table of the tensors that are left over: of a whole CLIP those of its text encoder always are."""
    from transformers.utils import logging as spoken

    before = spoken.get_verbosity()
    spoken.set_verbosity_error()
    try:
        yield
    finally:
        spoken.set_verbosity(before)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
