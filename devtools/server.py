"""A real ComfyUI server that is started, spoken to over its HTTP API, and stopped."""
from __future__ import annotations

import contextlib
import functools
import json
import mimetypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from .environment import PACK_LINK_NAME, Layout, clean_variables
from .errors import ServerError, WorkflowError, tail

SECONDS_TO_START = 300
SECONDS_TO_STOP = 5
LARGEST_UPLOAD_MB = 2048

# The server is on this machine: a proxy meant for the internet must not get in between.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ComfyServer:
    """A running server. `url` is where its API and its page are."""

    def __init__(self, process: subprocess.Popen, port: int, log_file: Path):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = log_file

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            self.refuse_if_stopped()
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                return self.refuse_if_pack_failed()
            time.sleep(0.2)
        raise ServerError(f"ComfyUI did not answer within {SECONDS_TO_START} s.\n{tail(self.log())}")

    def refuse_if_stopped(self) -> None:
        status = self.process.poll()
        if status is not None:
            raise ServerError(f"ComfyUI stopped by itself (exit status {status}).\n{tail(self.log())}")

    def refuse_if_pack_failed(self) -> None:
        """ComfyUI goes on without a pack that it cannot import, and says so in its log only."""
        log = self.log()
        failure = re.search(rf"^.*Cannot import .*{PACK_LINK_NAME}.*$", log, re.MULTILINE)
        if failure:
            before = log[: failure.start()].rstrip()
            raise ServerError(f"ComfyUI cannot import this pack.\n{tail(before, 12)}\n{failure.group(0).strip()}")

    def get(self, path: str, **query: str) -> bytes:
        suffix = "?" + urllib.parse.urlencode(query) if query else ""
        with direct.open(self.url + path + suffix, timeout=60) as response:
            return response.read()

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> dict | None:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": content_type})
        with direct.open(request, timeout=600) as response:
            return json.loads(response.read() or b"null")

    def object_info(self) -> dict:
        """What every node takes and gives."""
        return json.loads(self.get("/object_info"))

    def upload(self, path: Path) -> str:
        """Sends an input file (image, audio or video); returns the name that loader nodes know it by."""
        body, content_type = multipart({"overwrite": "true", "type": "input"}, "image", path)
        return self.post("/upload/image", body, content_type)["name"]

    def submit(self, prompt: dict, client_id: str | None = None, partly: bool = False, workflow: dict | None = None) -> str:
        """Queues an API prompt; returns its id. `client_id` is the websocket that hears of its progress, and `workflow` the graph
        that is kept in the files that the prompt saves, as the page's are.

        ComfyUI runs the good outputs of a prompt whose others it refuses, for a file that is missing say. Here such a
        prompt doesn't run at all, unless it shall run `partly`.
        """
        body = {"prompt": prompt, "client_id": client_id or uuid.uuid4().hex}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        try:
            answer = self.post("/prompt", json.dumps(body).encode())
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            raise WorkflowError(describe_refusal(json.loads(error.read()))) from None
        if answer["node_errors"] and not partly:
            self.cancel(answer["prompt_id"])
            raise WorkflowError(describe_refusal(answer))
        return answer["prompt_id"]

    def cancel(self, prompt_id: str) -> None:
        """Takes a prompt out of the queue, or stops it if it runs."""
        self.post("/queue", json.dumps({"delete": [prompt_id]}).encode())
        self.post("/interrupt", json.dumps({"prompt_id": prompt_id}).encode())

    def wait(self, prompt_id: str) -> dict:
        """The history entry of a prompt once it is done; a failed node's message as an error.

        A prompt that is neither waiting, nor running, nor done was taken out of the queue: nothing would ever come of it.
        """
        while True:
            waiting = self.is_queued(prompt_id)  # asked first: a prompt goes from the queue into the history
            entry = json.loads(self.get(f"/history/{prompt_id}")).get(prompt_id)
            if entry is not None:
                refuse_failed(entry)
                return entry
            self.refuse_if_stopped()
            if not waiting:
                raise WorkflowError("the run was taken out of the queue.")
            time.sleep(0.2)

    def is_queued(self, prompt_id: str) -> bool:
        """Whether a prompt waits or runs."""
        queue = json.loads(self.get("/queue"))
        return any(entry[1] == prompt_id for entries in queue.values() for entry in entries)

    def queue(self, prompt: dict, partly: bool = False) -> dict:
        """Runs an API prompt to its end; returns its history entry."""
        return self.wait(self.submit(prompt, partly=partly))

    @staticmethod
    def output_files(entry: dict) -> list[dict]:
        """The files that output nodes wrote, as {"filename", "subfolder", "type"}; previews are left out."""
        return [
            result
            for outputs in entry["outputs"].values()
            for results in outputs.values()
            for result in results
            if isinstance(result, dict) and result.get("type") == "output"
        ]

    def fetch(self, file: dict) -> bytes:
        return self.get("/view", **{key: file[key] for key in ("filename", "subfolder", "type")})


def multipart(fields: dict[str, str], file_field: str, path: Path) -> tuple[bytes, str]:
    """A multipart/form-data body and its content type."""
    boundary = uuid.uuid4().hex
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    name = path.name.replace("\\", "_").replace('"', "_")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'Content-Disposition: form-data; name="{file_field}"; filename="{name}"\r\nContent-Type: {content_type}'
    parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + path.read_bytes() + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def describe_refusal(answer: dict) -> str:
    """Why ComfyUI did not take a prompt."""
    reasons = [
        f"{problem['class_type']} (node {node_id}): {error['message']}: {error['details']}"
        for node_id, problem in answer["node_errors"].items()
        for error in problem["errors"]
    ]
    if not reasons:
        reasons = ["{message} {details}".format(**answer["error"])]
    return "ComfyUI refused the workflow: " + "; ".join(reasons)


def refuse_failed(entry: dict) -> None:
    if entry["status"]["status_str"] == "success":
        return
    for kind, message in entry["status"]["messages"]:
        if kind == "execution_error":
            what = message["exception_message"].strip()
            trace = tail("".join(message["traceback"]), 8)
            raise WorkflowError(f"{message['node_type']} (node {message['node_id']}) failed: {what}\n{trace}")
    raise WorkflowError("the run was interrupted.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def has_cuda() -> bool:
    """Whether PyTorch sees a GPU; asked in another process, which frees the memory that the answer takes."""
    probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", probe], env=clean_variables()).returncode == 0


def comfyui_command(layout: Layout, port: int, options: Sequence[str | Path]) -> list[str]:
    """How ComfyUI is started. Its source folder is only read: all that it writes goes under --base-directory."""
    command = [sys.executable, "-u", layout.comfyui / "main.py", "--port", port, "--base-directory", layout.base]
    if layout.own_comfyui:
        command += ["--models-directory", layout.own_comfyui / "models"]
    if not has_cuda():
        command += ["--cpu", "--use-pytorch-cross-attention"]
    return [str(part) for part in [*command, *options]]


def comfyui_variables(layout: Layout) -> dict[str, str]:
    variables = clean_variables()
    if layout.own_comfyui:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables


@contextlib.contextmanager
def running_server(layout: Layout) -> Iterator[ComfyServer]:
    """ComfyUI without a browser, on a free port, with inputs and outputs of its own that go when it stops."""
    with tempfile.TemporaryDirectory(prefix="apoavatar-", ignore_cleanup_errors=True) as folder:
        folders = {name: Path(folder, name) for name in ("input", "output", "temp", "user")}
        for path in folders.values():
            path.mkdir()
        options = [part for name, path in folders.items() for part in (f"--{name}-directory", path)]
        options += ["--database-url", "sqlite:///:memory:", "--max-upload-size", LARGEST_UPLOAD_MB]
        options += ["--disable-auto-launch", "--disable-api-nodes"]

        port, log_file = free_port(), Path(folder, "comfyui.log")
        with open(log_file, "wb") as log:
            process = start(comfyui_command(layout, port, options), log, comfyui_variables(layout))
        try:
            server = ComfyServer(process, port, log_file)
            server.wait_until_ready()
            yield server
        finally:
            stop(process)


def start(command: Sequence[str], log, variables: dict[str, str]) -> subprocess.Popen:
    """Starts a program as the leader of its own group, so that it can be stopped with all its children."""
    group = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
    )
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=variables, **group
    )


def stop(process: subprocess.Popen) -> None:
    """Asks a program started with `start` to end, then ends whatever is left of it."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
        process.wait()
        return
    try:
        signal_group(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
    finally:  # also when the user, out of patience, presses Ctrl-C again
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
