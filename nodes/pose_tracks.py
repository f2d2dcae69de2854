"""Poses over time: from files, in a clip's time, on another body."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..apoavatar_core.pose.following import follow, only_person
from ..apoavatar_core.pose.openpose_files import Size, read_openpose
from ..apoavatar_core.pose.retargeting import retargeted
from ..apoavatar_core.pose.track import Track, to_pose
from ..apoavatar_core.pose.track_clip import HOLD, LOOP, clip_of
from ..apoavatar_core.pose.track_gaps import filled
from .pose import PoseKeypoint
from .saying import saying


def keypoint_files() -> list[str]:
    """JSON files in ComfyUI's input folder, and folders there that hold some."""
    top = Path(folder_paths.get_input_directory())
    here = sorted(top.iterdir()) if top.is_dir() else []
    folders = [path for path in here if path.is_dir() and next(path.glob("*.json"), None) is not None]
    return [path.name for path in here if path.is_file() and path.suffix.lower() == ".json"] + [path.name for path in folders]


def path_in_input(name: str) -> Path:
    """Where a file or folder of ComfyUI's input folder is.

    Raises:
        ValueError: outside of it.
    """
    return Path(folder_paths.get_annotated_filepath(name))


class LoadOpenPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarLoadOpenPose",
            display_name="Load OpenPose JSON",
            category="ApoAvatar",
            description="Read keypoints from JSON files of OpenPose, DWPose or SDPose.",
            search_aliases=["openpose json", "load pose", "keypoints", "dwpose", "sdpose"],
            inputs=[
                io.Combo.Input(
                    "file", options=keypoint_files(),
                    tooltip="A file with a list of frames, or a folder with a file for each frame, in ComfyUI's input folder.",
                ),
                io.Int.Input(
                    "width", default=0, min=0, max=16384, optional=True,
                    tooltip="Of the film, in pixels, where the file does not say it (OpenPose's own do not); 0 if it does.",
                ),
                io.Int.Input(
                    "height", default=0, min=0, max=16384, optional=True, tooltip="Of the film, likewise; 0 if the file says it."
                ),
            ],
            outputs=[PoseKeypoint.Output(display_name="pose", tooltip="One frame for each frame of the film, everybody in it.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> list[tuple[str, int, int]]:
        path = path_in_input(file)
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        return [(one.name, one.stat().st_mtime_ns, one.stat().st_size) for one in files if one.is_file()]

    @classmethod
    def execute(cls, file: str, width: int = 0, height: int = 0) -> io.NodeOutput:
        frames = read_openpose(path_in_input(file), Size(width, height))
        follow(frames)  # says here, and not later, what cannot be read
        return io.NodeOutput(frames)


class PoseTrack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarPoseTrack",
            display_name="Pose Track",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Time, smooth and loop a pose.",
            search_aliases=["loop pose", "smooth pose", "resample pose", "one euro", "pose fps", "trim pose"],
            inputs=[
                PoseKeypoint.Input("pose", tooltip="Keypoints of a film, from Extract Pose, Load OpenPose JSON, DWPose or SDPose."),
                io.Float.Input(
                    "pose_fps", default=24.0, min=1.0, max=240.0, step=0.01,
                    tooltip="Frames per second of that film; Get Video Components tells it.",
                ),
                io.Float.Input("fps", default=24.0, min=1.0, max=120.0, step=0.01, tooltip="Frames per second of the clip."),
                io.Int.Input(
                    "length", default=0, min=0, max=1_000_000, tooltip="Frames of the clip; 0 for as many as the pose gives."
                ),
                io.Float.Input(
                    "start", default=0.0, min=0.0, max=100_000.0, step=0.01, tooltip="Seconds of the pose that are left out."
                ),
                io.Combo.Input(
                    "when_short", options=[LOOP, HOLD],
                    tooltip="What a pose that is shorter than the clip does: go on from a moment that fits, or stand still.",
                ),
                io.Float.Input(
                    "smoothing", default=0.3, min=0.0, max=1.0, step=0.05,
                    tooltip="Stills trembling; fast movements keep their time. 0 leaves every point where it is.",
                ),
                io.Int.Input(
                    "person", default=0, min=0, max=100,
                    tooltip="Whom to follow if there are several: 0 the largest, 1 the first from the left, 2 the second, …",
                ),
            ],
            outputs=[
                PoseKeypoint.Output(display_name="pose", tooltip="One person, at the clip's frame rate."),
                io.Int.Output(display_name="length", tooltip="Its frames."),
            ],
        )

    @classmethod
    def execute(cls, pose, pose_fps, fps, length, start, when_short, smoothing, person) -> io.NodeOutput:
        track, said = clip_of(
            pose, pose_fps, fps, person=person, start=start, length=length, when_short=when_short, smoothing=smoothing
        )
        return io.NodeOutput(to_pose(track.people, track.canvas), len(track.points), ui=saying("Pose Track", said))


class RetargetPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarRetargetPose",
            display_name="Retarget Pose",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Put somebody else's movements on the portrait's body.",
            search_aliases=["align pose", "pose alignment", "pose transfer", "retargeting", "scale pose", "unianimate"],
            inputs=[
                PoseKeypoint.Input("pose", tooltip="The movements, of anybody, in any framing."),
                PoseKeypoint.Input(
                    "portrait_pose", tooltip="The portrait's own pose: Extract Pose of the picture that the clip begins with."
                ),
            ],
            outputs=[
                PoseKeypoint.Output(
                    display_name="pose", tooltip="The movements with the portrait's limbs, face and place; on its picture."
                )
            ],
        )

    @classmethod
    def execute(cls, pose, portrait_pose) -> io.NodeOutput:
        followed = follow(pose)
        whole = filled(Track.of(followed, fps=24.0))
        portrait, canvas = only_person(portrait_pose)
        track = retargeted(whole.track, portrait, canvas or whole.track.canvas)
        said = saying("Retarget Pose", [*followed.sentences, *whole.sentences])
        return io.NodeOutput(to_pose(track.people, track.canvas), ui=said)
