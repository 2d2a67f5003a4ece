"""What the fixture `setup` is: it runs setup.py, with variables in the environment."""

import subprocess
from collections.abc import Callable

Run = Callable[..., "subprocess.CompletedProcess[str]"]
