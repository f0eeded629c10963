from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych.inference.pipeline import Pipeline
from triptych.latent.interpolation import latent_map, map_coordinates
from triptych.latent.mapping import Encoded, encode_test_images, write_map


def test_write_map__test_images_at_their_codes(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"width": 4, "steps": 1, "batch": 8, "precision": "fp32", "threads": 1}
    run = triptych.train("vae", latent=2, runs=tmp_path, conditional=False, **tiny)
    model = triptych.load(run.path)
    encoded = encode_test_images(model, 30, (0, 1))
    assert encoded.coordinates.shape == (30, 2) and encoded.labels is not None and len(encoded.names) == 10
    images = latent_map(model, 3)
    write_map(tmp_path / "map.npz", images, (0, 1), encoded)
    with np.load(tmp_path / "map.npz") as arrays:
        np.testing.assert_array_equal(arrays["codes"], encoded.coordinates)
        np.testing.assert_allclose(arrays["coordinates"], map_coordinates(3))
    plain = Encoded(np.array([[0.0, 0.0]], np.float32), None, ())
    write_map(tmp_path / "one.png", images, (0, 1), plain)
    with Image.open(tmp_path / "one.png") as drawn:
        page = np.asarray(drawn.convert("RGB")).astype(int)
    down, _ = np.nonzero((page == (31, 119, 180)).all(2))  # the only dot, in the middle of its panel
    assert abs(down.mean() - page.shape[0] / 2) < 2 and 9 <= len(down) <= 25
    write_map(tmp_path / "bare.png", images, (0, 1), None)
    with Image.open(tmp_path / "bare.png") as drawn:
        assert drawn.width < page.shape[1]


def test_encode_test_images__refuses_a_model_without_an_encoder(bands: Pipeline) -> None:
    with pytest.raises(ValueError, match="Bands has no encoder"):
        encode_test_images(bands, 3, (0, 1))
