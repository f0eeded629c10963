"""GANs, VAEs and diffusion models: trained, sampled and measured under one protocol.

run    = triptych.train("dcgan", data="digits", steps=200, seed=0)
model  = triptych.load(run.path)
images = model.sample(seeds=range(64))
scores = triptych.evaluate(model, samples=1000)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from triptych._version import __version__

if TYPE_CHECKING:
    from triptych.evaluation.evaluate import evaluate
    from triptych.inference.pipeline import Pipeline, load
    from triptych.runs.run import Run
    from triptych.training.runner import train

__all__ = ["Pipeline", "Run", "__version__", "evaluate", "load", "train"]

_HOMES = {
    "Pipeline": "inference.pipeline",
    "Run": "runs.run",
    "evaluate": "evaluation.evaluate",
    "load": "inference.pipeline",
    "train": "training.runner",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import triptych` itself does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'triptych' has no attribute {name!r}")
    return getattr(import_module(f"triptych.{_HOMES[name]}"), name)
