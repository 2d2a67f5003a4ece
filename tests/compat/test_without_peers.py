"""The packages whose interfaces relprop has need not be there."""

from __future__ import annotations

import subprocess
import sys

PEERS = ("captum", "quantus", "shap", "tangermeme")


def test_none_of_the_other_packages_need_be_installed() -> None:
    hidden = f"import sys; sys.modules.update(dict.fromkeys({PEERS}))"
    imports = "; ".join(f"import relprop.compat.{name}" for name in PEERS)
    subprocess.run([sys.executable, "-c", f"{hidden}; {imports}"], check=True)
