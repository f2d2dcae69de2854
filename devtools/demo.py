"""`dev.py demo`: a portrait and a voice become an MP4, through a real ComfyUI and a workflow of this pack."""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import threading
import time
import uuid
from pathlib import Path

from . import workflow
from .environment import Layout
from .errors import WorkflowError
from .server import ComfyServer, running_server

# Inputs that hold a number of frames, on whichever of the pack's nodes has them.
FRAME_COUNT_INPUTS = ("length", "frames")
LATENT_STRIDE = 4
TOKEN_PIXELS = 16
LONG = "ApoAvatar talking avatar in a long video - tiny model"
LONG_WITH_POSE = "ApoAvatar gestures in a long video - tiny model"
FITS = ("keep person", "centre", "pad")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, metavar="FILE", help="the portrait (default: the presenter of this pack)")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="the voice (default: a sentence of this pack's)")
    parser.add_argument("--prompt", metavar="TEXT", help="what the picture shows (default: the workflow's)")
    parser.add_argument("--pose", type=Path, metavar="FILE", help="a video of rendered poses that the gestures follow")
    parser.add_argument("--seconds", type=positive(float), metavar="N", help="length (default: the voice's)")
    parser.add_argument("--size", type=size, metavar="WxH", help="width and height in pixels (default: the workflow's)")
    parser.add_argument(
        "--fit", choices=FITS, help="what a portrait of another shape is cut to: round the person, the middle, or all of it with bars "
        "(default: the workflow's)",
    )
    parser.add_argument("--steps", type=positive(int), metavar="N", help="denoising steps (default: the workflow's)")
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: the workflow's)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", default=Path("apoavatar_demo.mp4"), help="default: %(default)s"
    )


def positive(kind):
    def read(text: str):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"  # argparse says "invalid positive int value"
    return read


def size(text: str) -> tuple[int, int]:
    """Width and height that the tiny preset's model can make."""
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text)
    sides = tuple(int(side) for side in match.groups()) if match else ()
    if not sides or any(side % TOKEN_PIXELS or not side for side in sides):
        raise argparse.ArgumentTypeError(f"{text} is no size: give width and height as multiples of {TOKEN_PIXELS}, such as 128x160")
    return sides


def refuse_missing_files(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """A mistyped file name is told at once, not after minutes of set-up."""
    for name in ("image", "audio", "pose"):
        path = getattr(arguments, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name}: there is no file {path}")
    if arguments.out.is_dir():
        parser.error(f"--out: {arguments.out} is a folder")
    if arguments.out.suffix.lower() != ".mp4":
        parser.error(f"--out: the film is an MP4, and {arguments.out} says something else: use a name that ends in .mp4")


def run(layout: Layout, arguments: argparse.Namespace, started: float) -> None:
    name = LONG_WITH_POSE if arguments.pose else LONG
    graph = workflow.load(layout.root / "workflows" / f"{name}.json")
    refuse_unreadable_sound(arguments.audio)
    print("starting ComfyUI ...", flush=True)
    with running_server(layout) as server:
        connect_files(graph, arguments, server)
        definitions = server.object_info()
        prompt = workflow.to_prompt(graph, definitions)
        apply_arguments(prompt, arguments)
        workflow.keep_values(graph, prompt, definitions)
        video = generate(server, prompt, graph=graph)
    write_whole(arguments.out, video)
    frames, rate, seconds = describe_video(arguments.out)
    print(f"wrote {arguments.out} ({frames} frames, {rate:g} fps, {seconds:.2f} s, {time.time() - started:.1f} s wall)")


def refuse_unreadable_sound(path: Path | None) -> None:
    """Says at once, and in words, what ComfyUI's Load Audio would say of a voice that it cannot read.

    Raises:
        WorkflowError: with the remedy.
    """
    import av  # a requirement of ComfyUI's

    if path is None:
        return
    try:
        with av.open(str(path)) as container:
            first = next(container.decode(audio=0), None)
    except (av.error.FFmpegError, IndexError):
        first = None
    if first is None:
        raise WorkflowError(f"--audio: {path.name} has no sound in it that can be read; use another file.")
    if first.format.name in ("u8", "u8p"):
        raise WorkflowError(f"--audio: {path.name} has 8 bits a sample, which ComfyUI does not load: save it with 16.")


def connect_files(graph: dict, arguments: argparse.Namespace, server: ComfyServer) -> None:
    """Loads the files of the command line in the workflow; the example's stay in the place of the others."""
    for name, file in (("portrait", arguments.image), ("voice", arguments.audio), ("pose", arguments.pose)):
        if file is not None:
            workflow.connect_own(graph, name, server.upload(file))


def apply_arguments(prompt: dict, arguments: argparse.Namespace) -> None:
    """Puts what the command line says into the prompt; what it leaves out stays as the workflow has it."""
    if arguments.prompt is not None:
        workflow.set_input(prompt, "CLIPTextEncode", "text", arguments.prompt, title="Prompt")
    if arguments.steps is not None:
        workflow.set_input(prompt, "BasicScheduler", "steps", arguments.steps)
    if arguments.seed is not None:
        workflow.set_input(prompt, "RandomNoise", "noise_seed", arguments.seed)
    for name, value in zip(("width", "height"), arguments.size or ()):
        workflow.set_input(prompt, "ApoAvatarConditioning", name, value)
    if arguments.fit is not None:
        workflow.set_input(prompt, "ApoAvatarConditioning", "fit", arguments.fit)
    if arguments.seconds is not None:
        set_seconds(prompt, arguments.seconds)


def set_seconds(prompt: dict, seconds: float) -> None:
    """Sets the frame count of every node of the pack that has one of its own, and does not get it from such a node. Where Long
    Video is among them its own is enough: the clips that it strings together and the gate stay those of the whole voice.
    """
    frames = frame_count(seconds, workflow.get_input(prompt, "ApoAvatarConditioning", "fps"))
    whole = workflow.nodes_of(prompt, "ApoAvatarLongVideo")
    for node in whole or prompt.values():
        for name in FRAME_COUNT_INPUTS:
            if node["class_type"].startswith("ApoAvatar") and isinstance(node["inputs"].get(name), int):
                node["inputs"][name] = frames


def frame_count(seconds: float, fps: float) -> int:
    """The number of frames nearest to a duration that the VAE can make: 4n + 1."""
    return LATENT_STRIDE * max(0, round((seconds * fps - 1) / LATENT_STRIDE)) + 1


def generate(server: ComfyServer, prompt: dict, partly: bool = False, graph: dict | None = None) -> bytes:
    """Runs the prompt, or what of it can run, and returns the video it saved, with the graph in it if one is given."""
    client_id = uuid.uuid4().hex
    told: set[str] = set()
    listener = threading.Thread(target=show_progress, args=(server, client_id, prompt, told), daemon=True)
    listener.start()
    entry = server.wait(server.submit(prompt, client_id, partly, graph))
    for sentence in sentences(entry, prompt):
        if sentence not in told:
            print(sentence, flush=True)
    videos = [file for file in server.output_files(entry) if file["filename"].lower().endswith(".mp4")]
    if not videos:
        raise WorkflowError("the workflow ended without saving an MP4.")
    return server.fetch(videos[-1])


def sentences(entry: dict, prompt: dict) -> list[str]:
    """What nodes said of a finished run (ui text), each behind the node's title."""
    return [
        f"{prompt[node_id]['_meta']['title']}: {line}"
        for node_id, output in entry["outputs"].items()
        for text in output.get("text", ())
        for line in str(text).splitlines()
    ]


def show_progress(server: ComfyServer, client_id: str, prompt: dict, told: set[str]) -> None:
    """Prints what the server tells of a run, until it ends, and notes down what nodes said. Nothing depends on it: the result is
    asked for.
    """
    import aiohttp  # a requirement of ComfyUI's

    async def listen() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{server.url}/ws", params={"clientId": client_id}) as socket:
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        print_event(json.loads(message.data), prompt, told)

    try:
        asyncio.run(listen())
    except (aiohttp.ClientError, OSError):
        pass


def print_event(event: dict, prompt: dict, told: set[str]) -> None:
    data = event.get("data", {})
    node = prompt.get(str(data.get("node")))
    if node is None:
        return
    if event["type"] == "executed":
        for sentence in sentences({"outputs": {str(data["node"]): data.get("output") or {}}}, prompt):
            told.add(sentence)
            print(sentence, flush=True)
    elif event["type"] == "executing":
        print(f"  {node['_meta']['title']}", flush=True)
    elif event["type"] == "progress":
        print(f"  {node['_meta']['title']}: step {data['value']}/{data['max']}", flush=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that its name never stands for half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def describe_video(path: Path) -> tuple[int, float, float]:
    """(frames, frames per second, seconds) of the picture in a video file, by decoding it."""
    import av  # a requirement of ComfyUI's

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        seconds = float(stream.duration * stream.time_base)
        return frames, float(stream.average_rate), seconds
