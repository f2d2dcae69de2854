"""Whole-body models as ONNX files (DWPose, RTMW, RTMPose, ViTPose), run by onnxruntime on any of its providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .peaks import decode_simcc, decode_udp
from .top_down import IMAGENET_DEVIATION, IMAGENET_MEAN, TopDown

SUFFIX = ".onnx"

SLOW_TO_START = {"TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}
"""Providers that take minutes for the first picture."""


class OnnxModel(TopDown):
    """A network [B, 3, h, w] -> two SimCC outputs [B, K, bins], x first, or heatmaps [B, K, h', w'].

    Args:
        session: onnxruntime's, of such a network.

    Raises:
        ValueError: when the network is another one.
    """

    def __init__(self, session: Any) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shape = inputs[0].shape
        ranks = [len(output.shape) for output in outputs]
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or ranks not in ([3, 3], [4]):
            raise ValueError(
                "The ONNX file is not a whole-body pose model: choose one that takes a picture and gives two SimCC outputs "
                "or heatmaps, such as DWPose's dw-ll_ucoco_384.onnx."
            )
        if not all(isinstance(side, int) for side in shape[2:]):
            raise ValueError("The ONNX file does not say how large its picture is: choose one of a fixed size.")
        self.session, self.input = session, inputs[0]
        self.size = (shape[3], shape[2])
        self.unbiased = ranks == [4]

    def points(self, crops: np.ndarray) -> np.ndarray:
        """See `TopDown.points`."""
        values = ((crops - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_DEVIATION)).transpose(0, 3, 1, 2)
        values = values.astype(np.float16 if "float16" in self.input.type else np.float32)
        # Many files take one picture at a time, whatever comes in.
        batch = self.input.shape[0]
        parts = np.split(values, range(batch, len(values), batch)) if isinstance(batch, int) else [values]
        return np.concatenate([self._points(np.ascontiguousarray(part)) for part in parts])

    def _points(self, values: np.ndarray) -> np.ndarray:
        outputs = [torch.from_numpy(output).float() for output in self.session.run(None, {self.input.name: values})]
        return (decode_udp(*outputs) if self.unbiased else decode_simcc(*outputs)).numpy()


def load_onnx(path: Path) -> OnnxModel:
    """Read an ONNX file.

    Raises:
        ValueError: when onnxruntime is missing, or the file is no such model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(
            f"{path.name} is an ONNX file, which needs the package onnxruntime: pip install onnxruntime, or "
            "onnxruntime-gpu."
        ) from None
    providers = [name for name in onnxruntime.get_available_providers() if name not in SLOW_TO_START]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # its errors have no common class
        raise ValueError(f"onnxruntime cannot read {path.name} ({_first_line(error)}): download it again.") from None
    return OnnxModel(session)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
