"""zennit's example script, from its source archive, and the same with other imports."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import urllib.request
from pathlib import Path

from relprop.errors import InvalidInputError

ARCHIVE = (
    "https://files.pythonhosted.org/packages/f6/42/"
    "721a50dd95a7419e6e02eb60f012fc27ac91da0347efbe7555f5e4ab8e4a/zennit-0.5.1.tar.gz"
)
SHA256 = "ce4889ad8c09fee87d5eca426ea5607ef27f43340a7d2963559d559f5f4d3fd3"
SCRIPT = "zennit-0.5.1/share/example/feed_forward.py"
MOVED = "relprop.compat.zennit"
IMPORTS = re.compile(r"^from zennit\.", re.MULTILINE)


def scripts(folder: Path, archive: str = ARCHIVE) -> dict[str, Path]:
    """The script as zennit has it and the script moved over, by the package that each imports.

    Raises:
        InvalidInputError: the archive is not the one that PyPI had, or could not be had.
    """
    text = _script(_fetched(archive))
    moved, changes = IMPORTS.subn(f"from {MOVED}.", text)
    if not changes:
        raise InvalidInputError("the script of zennit imports nothing from zennit")
    found = {}
    for package, code in (("zennit", text), (MOVED, moved)):
        found[package] = folder / f"{package.partition('.')[0]}_feed_forward.py"
        found[package].write_text(code, encoding="utf-8")
    return found


def changed_lines(scripts: dict[str, Path]) -> int:
    """How many lines the two differ in."""
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in scripts.values())
    return sum(a != b for a, b in zip(old, new, strict=True))


def _fetched(archive: str) -> bytes:
    try:
        with urllib.request.urlopen(archive, timeout=60) as answer:
            content: bytes = answer.read()
    except OSError as fault:
        raise InvalidInputError(f"zennit's source archive could not be had: {fault}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InvalidInputError(f"{archive} should have the SHA-256 {SHA256}; it has {found}")
    return content


def _script(archive: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        content = files.extractfile(SCRIPT)
        if content is None:
            raise InvalidInputError(f"zennit's source archive has no file {SCRIPT}")
        return content.read().decode()
