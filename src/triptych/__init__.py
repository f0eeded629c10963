"""GANs, VAEs and diffusion models: trained, sampled and measured under one protocol.

run    = triptych.train("dcgan", data="digits", steps=200, seed=0)
model  = triptych.load(run.path)
images = model.sample(seeds=range(64))
scores = triptych.evaluate(model, samples=1000)
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from triptych.driver import train
    from triptych.evaluate import evaluate
    from triptych.model import Model, load
    from triptych.run import Run

__all__ = ["Model", "Run", "__version__", "evaluate", "load", "train"]

_HOMES = {"train": "driver", "load": "model", "Model": "model", "evaluate": "evaluate", "Run": "run"}


class _Package(ModuleType):
    """Keeps `triptych.train` the function although a submodule bears the same name.

    Importing a submodule sets it as an attribute of its package; those that share a name with a
    public function are not set, so that the lookup below answers whoever asks, in any order.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import triptych` itself does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'triptych' has no attribute {name!r}")
    return getattr(import_module(f"triptych.{_HOMES[name]}"), name)


sys.modules[__name__].__class__ = _Package
