"""What ComfyUI's registry gives to users: the files in git that `.comfyignore` does not name.

    python -m devtools.archive apoavatar.zip     writes the archive that `comfy node publish` would, and says how large it is
"""
from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from .errors import DevError, SetupError

IGNORED = ".comfyignore"


def files(root: Path) -> list[str]:
    """Paths of the archive's files under the checkout `root`, with slashes. Git itself reads the patterns.

    Raises:
        SetupError: when `root` is no git checkout.
    """
    ignored = _listed(root, "--cached", "--ignored", f"--exclude-from={IGNORED}")
    return sorted(_listed(root) - ignored)


def _listed(root: Path, *options: str) -> set[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *options]
    try:
        result = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SetupError(f"git cannot list the files of {root}: the archive is made from a git checkout.") from None
    return set(filter(None, result.stdout.split("\0")))


def write(root: Path, target: Path) -> None:
    """Write the archive of the checkout `root`, compressed as comfy-cli does it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files(root):
            archive.write(root / name, name)


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        sys.exit("usage: python -m devtools.archive FILE")
    root, target = Path(__file__).resolve().parents[1], Path(arguments[0])
    try:
        write(root, target)
    except DevError as error:
        sys.exit(str(error))
    print(f"{target}: {len(files(root))} files, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
