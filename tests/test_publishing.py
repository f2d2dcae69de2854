"""What ComfyUI's registry and ComfyUI-Manager read of the pack, and the archive that they give to users."""
import re
from pathlib import Path

import pytest

from devtools import archive

ROOT = Path(__file__).resolve().parents[1]
tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, COMFY = PYPROJECT["project"], PYPROJECT["tool"]["comfy"]

in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the archive is made from a git checkout")


def test_the_registry_reads_the_dependencies_that_the_manager_installs():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if line and not line.startswith("#")]
    assert PROJECT["dependencies"] == needed and "dynamic" not in PROJECT
    assert not [line for line in needed if "#" in line or line.startswith("-")]


def test_the_registrys_name_is_its_own_and_the_workflows_know_it():
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", PROJECT["name"]) and "comfy" not in PROJECT["name"]
    for path in [*(ROOT / "workflows").rglob("*.json"), *(ROOT / "subgraphs").rglob("*.json")]:
        asked_for = set(re.findall(r'"cnr_id":\s*"([^"]*)"', path.read_text(encoding="utf-8")))
        assert asked_for <= {PROJECT["name"], "comfy-core"}, path.name


def test_extensions_of_the_page_are_called_after_the_pack():
    """The page drops an extension whose name another pack has taken."""
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "js").rglob("*.js")]
    names = [name for script in scripts for name in re.findall(r'registerExtension\(\{\s*name: "(.*?)"', script)]
    assert len(names) == sum(script.count("registerExtension") for script in scripts)
    assert all(name.startswith(f"{PROJECT['name']}.") for name in names)


def test_extensions_of_the_page_touch_nothing_that_is_not_theirs():
    """As comfy-test's JavaScript level has it: the page is one for all packs."""
    for path in (ROOT / "js").rglob("*.js"):
        shared = r"(document|window|globalThis)(\.body|\.head)?\.(addEventListener|append|appendChild|prepend|on\w+\s*=)|\.prototype\b"
        assert re.findall(shared, path.read_text(encoding="utf-8")) == [], path.name


def test_the_registry_asks_for_no_gpu_and_no_system():
    """The values that comfy-cli knows for an accelerator are GPUs and NPUs; none stands for any machine."""
    kinds = [classifier.split(" :: ") for classifier in PROJECT["classifiers"]]
    assert [kind for kind in kinds if kind[0] == "Operating System"] == [["Operating System", "OS Independent"]]
    assert "Environment" not in {kind[0] for kind in kinds}


def test_the_registrys_addresses_are_the_repositorys_and_their_files_are_there():
    urls = PROJECT["urls"]
    assert {"Repository", "Documentation", "Issues"} <= set(urls)
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    raw = urls["Repository"].replace("https://github.com", "https://raw.githubusercontent.com") + "/main/"
    for picture in (COMFY["Icon"], COMFY["Banner"]):
        assert picture.startswith(raw) and (ROOT / picture.removeprefix(raw)).is_file()
    assert (ROOT / urls["Documentation"].rpartition("/main/")[2]).is_dir()


@in_git
def test_the_archive_leaves_out_what_only_a_checkout_needs():
    names = archive.files(ROOT)
    foreign = ("tests/", "devtools/", "benchmarks/", "dev.py", ".", "icon", "docs/publishing.md")
    assert not [name for name in names if name.startswith(foreign) or name.startswith("docs/") and not name.endswith(".md")]
    assert not [name for name in names if name.startswith("workflows/") and name.endswith(".py")]
    kept = {"__init__.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE", "workflows/assets/presenter.png"}
    assert kept <= set(names)


@in_git
def test_the_readme_says_how_large_the_archive_is(tmp_path):
    archive.write(ROOT, tmp_path / "pack.zip")
    megabytes = (tmp_path / "pack.zip").stat().st_size / 1e6
    said = re.search(r"archive for ComfyUI's registry is (\d+) MB", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert said and abs(int(said[1]) - megabytes) <= 1, f"python -m devtools.archive says {megabytes:.1f} MB"
