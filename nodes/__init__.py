"""The nodes, one file per stage of the graph."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from ..apoavatar_core.comfyui.page import answer_the_page
from .audio import LoudnessRefocusing
from .conditioning import Conditioning
from .example import Example
from .gestures import GesturesFromVoice, RefocusGestures
from .loaders import ApplyAdapter, LoadModels
from .long_video import LongVideo
from .pose import ExtractPose, RenderPose
from .pose_tracks import LoadOpenPose, PoseTrack, RetargetPose
from .sampling import Guider, Sampler


class ApoAvatarExtension(ComfyExtension):
    async def on_load(self) -> None:
        answer_the_page()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            Example, LoadModels, ApplyAdapter, LoudnessRefocusing, ExtractPose, RenderPose, LoadOpenPose, PoseTrack, RetargetPose,
            GesturesFromVoice, RefocusGestures, Conditioning, Guider, Sampler,
            LongVideo,
        ]
