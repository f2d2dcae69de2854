"""Pose: keypoints, their drawing, and the network that finds them in pictures."""

from .estimator import KeypointNetwork, KeypointNetworkConfig, PoseModel, estimate
from .keypoints import PersonKeypoints, canvas_size, from_frame, in_middle_of, to_frame
from .measurements import hand_speed, mouth_opening
from .network_file import load_keypoint_network, save_keypoint_network
from .render import render_pose

__all__ = [
    "KeypointNetwork",
    "KeypointNetworkConfig",
    "PersonKeypoints",
    "PoseModel",
    "canvas_size",
    "estimate",
    "from_frame",
    "hand_speed",
    "in_middle_of",
    "load_keypoint_network",
    "mouth_opening",
    "render_pose",
    "save_keypoint_network",
    "to_frame",
]
