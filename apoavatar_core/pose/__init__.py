"""Pose: keypoints, their drawing, and the models that find them in pictures."""

from .bounding_boxes import boxes_in
from .estimator import HeatmapModel, KeypointNetwork, KeypointNetworkConfig
from .keypoints import PersonKeypoints, canvas_size, from_frame, in_middle_of, to_frame
from .measurements import hand_speed, mouth_opening
from .model import PoseModel, estimate
from .network_file import load_keypoint_network, save_keypoint_network
from .pose_file import load_pose_model
from .render import render_pose

__all__ = [
    "HeatmapModel",
    "KeypointNetwork",
    "KeypointNetworkConfig",
    "PersonKeypoints",
    "PoseModel",
    "boxes_in",
    "canvas_size",
    "estimate",
    "from_frame",
    "hand_speed",
    "in_middle_of",
    "load_keypoint_network",
    "load_pose_model",
    "mouth_opening",
    "render_pose",
    "save_keypoint_network",
    "to_frame",
]
