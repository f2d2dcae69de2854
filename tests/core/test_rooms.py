"""Who may import whom: the layering that the README promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "apoavatar_core"
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "node_helpers", "server", "execution",
    "latent_preview",
}  # fmt: skip
"""ComfyUI's top-level modules."""

FLOORS = (
    {"grid", "files", "locks", "waveform", "loudness", "hearing", "precision", "settings", "shares"},
    {"log_mel", "refocusing", "refocusing_plot", "flow_matching", "guidance", "speaking_prompt"},
    {"adapters"},
    {"checkpoints"},
    {"pose"},
    {"conditioning"},
    {"long_video"},
    {"comfyui"},
    {"gestures"},
    {"synthetic"},
    {"data"},
    {"training"},
    {"tiny"},
    {"evaluation"},
    {"recipe"},
)
"""From the ground up: a room imports from its own floor and those below."""
COMMAND = "__main__.py"
"""A command stands above all rooms, for nothing imports it: `training tiny` starts what is made of every room."""


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import of a file, those inside functions too; level 0 is absolute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.level, node.module))
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, alias.name) for alias in node.names]
    return found


def files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), -1)


def test_only_one_room_touches_comfyui() -> None:
    touching = {
        str(path.relative_to(CORE)): module
        for path in files()
        for level, module in imports(path)
        if level == 0 and module.split(".")[0] in HOST and room_of(path) != "comfyui"
    }
    assert not touching


def test_what_the_nodes_need_is_drawn_without_opencv() -> None:
    """OpenCV is an extra: two packages fill the same folder, and most users have one of them."""
    needing = {room_of(path) for path in files() for level, module in imports(path) if level == 0 and module == "cv2"}
    assert needing == {"synthetic", "data", "tiny", "evaluation", "recipe"}
    assert not [path for path in (ROOT / "nodes").glob("*.py") for _, module in imports(path) if "cv2" in module]


def test_what_runs_in_nodes_takes_its_layers_from_whoever_builds_it() -> None:
    """ComfyUI hands its own layers in, which it can load, offload and cast."""
    layers = re.compile("Linear|Bilinear|Conv.*|.*Norm.*|Embedding|LSTM|GRU|MultiheadAttention")
    outside = {"training", "data", "tiny", "evaluation", "recipe", "synthetic"}
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*files(), *(ROOT / "nodes").glob("*.py")]
        if ROOT / "nodes" in path.parents or room_of(path) not in outside
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and layers.fullmatch(node.func.attr)
        if ast.unparse(node.func.value) in ("nn", "torch.nn")
    ]
    assert not bare


def test_arrows_between_rooms_run_down() -> None:
    upwards = []
    for path in files():
        depth = len(path.relative_to(CORE).parts)
        for level, module in imports(path):
            assert not module.startswith("apoavatar_core"), f"{path} imports {module} absolutely"
            other = module.split(".")[0]
            assert module.split(".")[-1] != "__main__", f"{path} imports a command"
            if level == depth and room_of(path) != "__init__" and path.name != COMMAND:
                assert floor_of(other) >= 0, f"{other} has no floor yet"
                if floor_of(other) > floor_of(room_of(path)):
                    upwards.append((str(path.relative_to(CORE)), module))
    assert not upwards
