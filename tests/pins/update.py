"""Write the stored values anew, after a change on purpose: `python tests/pins/update.py`."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))
from pinned import HOME, compute


class Capture:
    """Stands in for pytest's capsys."""

    def __init__(self) -> None:
        self.out = io.StringIO()

    def readouterr(self) -> SimpleNamespace:
        text = self.out.getvalue()
        self.out.seek(0)
        self.out.truncate()
        return SimpleNamespace(out=text, err="")


if __name__ == "__main__":
    capture = Capture()
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(capture.out):
        computed = compute(Path(home), capture)
    for name, content in computed.items():
        text = json.dumps(content, indent=1)
        text = re.sub(r"\[\n[^\]]*\]", lambda m: json.dumps(json.loads(m[0])), text)  # a list a line
        (HOME / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"wrote {HOME / name}.json")
