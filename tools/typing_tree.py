"""Link the four source folders into one tree named like the import path, for type checkers.

A type checker follows neither the folder mapping of setup.py nor the finder of an editable install.
Usage: python tools/typing_tree.py FOLDER; then, from any folder but this repository's root,
MYPYPATH=FOLDER mypy --config-file .../pyproject.toml -p agrad
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUBPACKAGES = ("backends", "cython_core", "plugins")


def main(target: str) -> None:
    """Make FOLDER/agrad; the folder must not hold one yet."""
    tree = Path(target, "agrad")
    tree.mkdir(parents=True)
    for entry in [*(ROOT / "agrad").iterdir(), *(ROOT / name for name in SUBPACKAGES)]:
        (tree / entry.name).symlink_to(entry)


if __name__ == "__main__":
    main(*sys.argv[1:])
