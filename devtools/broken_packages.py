"""Removes the records of packages whose files are not all there.

Run by the environment's own interpreter when a set-up resumes. An installation that was cut short can leave a package
that pip takes for installed; without its record, pip installs it again.
"""
import importlib.metadata
import shutil
from pathlib import Path


def is_complete(distribution: importlib.metadata.Distribution) -> bool:
    """Whether every recorded file exists with its recorded size. A package without a record is not complete."""
    files = distribution.files
    if not files:
        return False
    for file in files:
        path = Path(distribution.locate_file(file))
        if file.suffix == ".pyc":  # pip compiles these afterwards; Python makes them again
            continue
        if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            return False
    return True


def record_folder(distribution: importlib.metadata.Distribution) -> Path:
    return Path(str(distribution._path))


def main() -> None:
    for distribution in list(importlib.metadata.distributions()):
        folder = record_folder(distribution)
        if folder.suffix == ".dist-info" and not is_complete(distribution):
            print(f"incomplete, will be installed again: {folder.name}")
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
