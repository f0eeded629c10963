"""DINOv2 and CLIP as feature networks, loaded with the transformers library if it is installed.

Weights are read from safetensors only, and no code that comes with them is executed.
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
    """A published transformer: its repository on the hub and its class in the transformers library."""

    name: str
    hub: str
    types: tuple[str, ...]  # model_type in its config.json
    loader: str


DINOV2 = PublishedModel("dinov2", "facebook/dinov2-large", ("dinov2",), "Dinov2Model")
CLIP = PublishedModel(
    "clip", "openai/clip-vit-large-patch14", ("clip", "clip_vision_model"), "CLIPVisionModelWithProjection"
)


class DINOv2(FeatureNetwork):
    """DINOv2 (Oquab et al. 2024): the normalized class token, 1024 features with ViT-L/14.

    At 224 px, position embeddings are interpolated as in transformers, not as in the authors' own code:
    features differ slightly from those of dgm-eval.
    """

    SIDE_PX = 224

    def __init__(self, model: Any) -> None:
        super().__init__(3, model.config.hidden_size, 0, repeat_gray=True)
        self.model, self.size_px = model, self.SIDE_PX
        self.title = _title("dinov2", model.config)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) float32, scaled by ImageNet's mean and std -> (B, width)."""
        return self.model(pixel_values=images).last_hidden_state[:, 0]


class CLIPImageEncoder(FeatureNetwork):
    """CLIP's image encoder (Radford et al. 2021): the projected embedding, not normalized.

    768 features with ViT-L/14.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(3, model.config.projection_dim, 0, repeat_gray=True)
        self.model, self.size_px = model, model.config.image_size
        self.title = _title("clip", model.config)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) float32, scaled by CLIP's mean and std -> (B, width)."""
        return self.model(pixel_values=images).image_embeds


def load_dinov2(path: Path | None = None) -> DINOv2:
    """Load DINOv2 from a folder, $TRIPTYCH_DATA/dinov2-large, the hub's cache or the hub (ViT-L/14)."""
    return DINOv2(_open(DINOV2, path))


def load_clip(path: Path | None = None) -> CLIPImageEncoder:
    """Load CLIP from a folder, $TRIPTYCH_DATA/clip-vit-large-patch14, the hub's cache or the hub."""
    return CLIPImageEncoder(_open(CLIP, path))


def dinov2_flops_if_available() -> int | None:
    """Approximate FLOPs of DINOv2 per image, if it can be used without a download.

    Reads names and one small JSON file; neither the library nor the weights are loaded.

    Returns:
        None if the transformers library or the weights are not available, or the weights are another model's.
    """
    if find_spec("transformers") is None:
        return None
    folders = [place / DINOV2.hub.split("/")[1] for place in weight_dirs()]
    with suppress(ImportError, OSError, ValueError):  # an unreadable cache counts as empty
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(DINOV2.hub, "config.json")
        folders += [Path(cached).parent] if isinstance(cached, str) else []
    folder = next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)
    if folder is None:
        return None
    try:
        config = read_json(folder / "config.json")
        width, depth = int(config["hidden_size"]), int(config["num_hidden_layers"])
        tokens = (DINOv2.SIDE_PX // int(config["patch_size"])) ** 2 + 1
    except (WeightsError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if config.get("model_type") not in DINOV2.types:
        return None
    return 24 * width**2 * depth * tokens  # 12 width^2 weights per block, 2 operations each


def _title(name: str, config: Any) -> str:
    """ "dinov2-vitl14"; width and depth are spelled out where they are not a published size."""
    shape = (config.hidden_size, config.num_hidden_layers)
    size = SIZES.get(shape, f"vit{shape[0]}x{shape[1]}p")
    return f"{name}-{size}{config.patch_size}"


def _open(model: PublishedModel, path: Path | None) -> Any:
    """The library's model in float32. Raises WeightsError if the library or the weights are missing."""
    try:
        import transformers

        loader = getattr(transformers, model.loader)
    except ImportError as error:
        raise WeightsError(
            f"{model.name} features need the transformers library ({error}): "
            f"pip install 'triptych[text]'. {NO_DOWNLOAD}"
        ) from error
    if path is not None:
        return _from_folder(loader, model, path)
    for place in weight_dirs():
        if (folder := place / model.hub.split("/")[1]).is_dir():
            return _from_folder(loader, model, folder)
    try:
        with suppress(OSError):
            return _read(loader, model.hub, local=True)
        log.warning("%s is not in the hub's cache: asking the hub for it", model.hub)
        _check_hub(model.hub)
        return _read(loader, model.hub, local=False)
    except WeightsError:
        raise
    except Exception as error:  # the hub's client has errors of its own, which change with its version
        raise WeightsError(
            f"{model.name} features need the weights {model.hub}, which are not available "
            f"({_first_line(error)}). Searched for a folder {model.hub.split('/')[1]} in "
            f"{searched_dirs()}, in the hub's cache and at the hub. Name a folder with {model.name}:PATH. "
            f"{NO_DOWNLOAD}"
        ) from error


def _check_hub(hub: str) -> None:
    """Raise one of several errors if the hub's safetensors cannot be reached.

    The library itself would retry for half a minute.
    """
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(hub, "model.safetensors")
    huggingface_hub.get_hf_file_metadata(url, timeout=10)


def _from_folder(loader: Any, model: PublishedModel, folder: Path) -> Any:
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {folder}: expected one with config.json and model.safetensors"
        )
    config = read_json(folder / "config.json")
    if config.get("model_type") not in model.types:
        raise WeightsError(
            f"{folder} contains a model of type {config.get('model_type')!r}: {model.name} features need "
            f"{' or '.join(model.types)}"
        )
    try:
        return _read(loader, str(folder), local=True)
    except OSError as error:
        raise WeightsError(
            f"{folder} contains no model.safetensors ({_first_line(error)}): pickled weights can run "
            "code and are not opened"
        ) from error
    except (RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{folder} holds damaged or incompatible weights ({_first_line(error)})"
        ) from error


def _read(loader: Any, where: str, local: bool) -> Any:
    """Read a model. Raises OSError if there are no safetensors, WeightsError if weights are missing."""
    with torch.random.fork_rng(devices=[]), _quiet():
        model, about = loader.from_pretrained(
            where, local_files_only=local, use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(map(str, about["missing_keys"])):  # the library initialized them at random
        raise WeightsError(f"{where} lacks {len(missing)} of the network's tensors, for example {missing[0]}")
    return model.float()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the library's table of unused tensors: those of CLIP's text encoder are always unused."""
    from transformers.utils import logging as library_logging

    before = library_logging.get_verbosity()
    library_logging.set_verbosity_error()
    try:
        yield
    finally:
        library_logging.set_verbosity(before)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
