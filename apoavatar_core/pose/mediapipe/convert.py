"""Make the file of MediaPipe's networks: `python -m apoavatar_core.pose.mediapipe.convert WHEEL`.

The wheel is mediapipe 0.10.21 for any system (`pip download --no-deps mediapipe==0.10.21`); later ones hold no
networks. Its .tflite files are read with the schema of the package ai-edge-litert (extra `convert`). Weights stay what they
are: nearly all are half precision there already, and single precision stays where halving it would change it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...checkpoints.presets import MEDIAPIPE
from ...checkpoints.safe_file import write_tensors
from .network import INPUT
from .sparse import packed
from .weights import FORMAT


@dataclass(frozen=True)
class Source:
    """A .tflite file of the wheel and those of its outputs, by position, that are used."""

    path: str
    sha256: str
    outputs: tuple[int, ...]


SOURCES = {
    "person_detector": Source(
        "pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        (0, 1),  # boxes with keypoints, scores
    ),
    "body": Source(
        "pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        (0, 1, 3),  # landmarks, presence, heatmaps; not the mask, nor the landmarks in metres
    ),
    "palm_detector": Source(
        "palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        (0, 1),
    ),
    "hand_crop": Source(
        "holistic_landmark/hand_recrop.tflite",
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
        (0,),  # centre and size point of the hand
    ),
    "hand": Source(
        "hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        (0, 1),  # landmarks, presence; not which hand it is, nor the landmarks in metres
    ),
    "face_detector": Source(
        "face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        (0, 1),
    ),
    "face": Source(
        "face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        (0, 1),  # landmarks, presence
    ),
}
"""The networks, by the names they have here."""

IN_WHEEL = "mediapipe/modules/"

NEEDS_LITERT = "Reading .tflite files needs the package ai-edge-litert: pip install ai-edge-litert."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.pose.mediapipe.convert", description=__doc__)
    parser.add_argument("wheel", type=Path, help="the file mediapipe-0.10.21-*.whl")
    parser.add_argument("--out", type=Path, default=MEDIAPIPE, help="the file to write")
    parser.add_argument("--reference", type=Path, help="write what the .tflite files themselves give, for the tests")
    arguments = parser.parse_args()
    try:
        if arguments.reference:
            record(arguments.wheel, arguments.reference)
        else:
            convert(arguments.wheel, arguments.out)
    except (ValueError, ImportError) as error:
        sys.exit(str(error))


def convert(wheel: Path, out: Path) -> None:
    """Write the networks of a wheel as one safetensors file.

    Raises:
        ValueError: when the wheel is another one, or a network needs something that `network.py` has not.
        ImportError: when ai-edge-litert is not installed.
    """
    tensors: dict[str, torch.Tensor] = {}
    descriptions: dict[str, Any] = {}
    for name, source in SOURCES.items():
        description, weights = describe(read_from_wheel(wheel, source), source.outputs)
        descriptions[name] = description
        tensors |= packed({f"{name}.{key}": value for key, value in weights.items()})
    origin = {name: {"file": IN_WHEEL + source.path, "sha256": source.sha256} for name, source in SOURCES.items()}
    metadata = {
        "format": FORMAT,
        "source": "mediapipe 0.10.21, Apache-2.0",
        "files": json.dumps(origin),
        "networks": json.dumps(descriptions, separators=(",", ":")),
    }
    write_tensors(out, tensors, metadata)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def record(wheel: Path, out: Path) -> None:
    """Write samples of what the wheel's networks give for `waves_picture`, run by ai-edge-litert: npz, one array each.

    Raises:
        ValueError: when the wheel is another one.
        ImportError: when ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ImportError(NEEDS_LITERT) from None
    samples = {}
    for name, source in SOURCES.items():
        interpreter = Interpreter(model_content=read_from_wheel(wheel, source), num_threads=1)
        interpreter.allocate_tensors()
        (picture,) = interpreter.get_input_details()
        interpreter.set_tensor(picture["index"], waves_picture(*picture["shape"][1:3])[None])
        interpreter.invoke()
        outputs = [detail["index"] for detail in interpreter.get_output_details()]
        for output in source.outputs:
            samples[f"{name}.{source.outputs.index(output)}"] = sampled(interpreter.get_tensor(outputs[output]))
    np.savez(out, **samples)


def waves_picture(height: int, width: int) -> np.ndarray:
    """A picture of waves that any machine makes alike: float32 [height, width, 3], 0 to 1."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 7 + y / 19), np.sin(x / 23 - y / 11), np.sin(x * y / 900)]
    return (0.5 + 0.5 * np.stack(waves, axis=-1)).astype(np.float32)


def sampled(values: np.ndarray, count: int = 100) -> np.ndarray:
    """Some of an output's values, evenly from the first to the last."""
    flat = values.reshape(-1)
    return flat[np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(int)]


def read_from_wheel(wheel: Path, source: Source) -> bytes:
    """One .tflite file of the wheel, whose hash is right."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(IN_WHEEL + source.path)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise ValueError(
            f"{wheel} does not hold {source.path}: get the wheel with `pip download --no-deps mediapipe==0.10.21`."
        ) from None
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise ValueError(f"{source.path} in {wheel} is not that of mediapipe 0.10.21: get that version's wheel.")
    return content


def describe(content: bytes, outputs: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A .tflite file as a description for `network.Network` and the weights, named as in that network's state."""
    reader = _Reader(content)
    for operator in reader.graph.operators:
        reader.read(operator)
    return reader.pruned([str(reader.graph.outputs[output]) for output in outputs])


@dataclass
class _Step:
    """A step of a description with its weights, named as in the step's module."""

    kind: str
    inputs: list[str]
    output: str
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


class _Reader:
    """Reads the operators of a .tflite file one after the other. Pictures are [B, h, w, c] there, [B, c, h, w] here."""

    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert import schema_py_generated as schema
        except ImportError:
            raise ImportError(NEEDS_LITERT) from None
        self.schema = schema
        self.model = schema.ModelT.InitFromPackedBuf(content)
        self.graph = self.model.subgraphs[0]
        self.names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        self.unpacked: dict[int, np.ndarray] = {}  # constants that an operator unpacks
        self.padded: dict[int, tuple[int, tuple[int, ...]]] = {}  # values that are only another one with a border
        self.steps: list[_Step] = []

    def read(self, operator: Any) -> None:
        code = self.model.operatorCodes[operator.opcodeIndex]
        name = self.names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            raise ValueError(f"No step does what the operator {name} does.")
        method(operator, operator.builtinOptions)

    def pruned(self, outputs: list[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The description and the weights of what the outputs need."""
        needed, kept = set(outputs), []
        for step in reversed(self.steps):
            if step.output in needed:
                needed |= set(step.inputs)
                kept.append(step)
        kept.reverse()
        steps = [
            {"kind": step.kind, "inputs": step.inputs, "output": step.output, **step.arguments} for step in kept
        ]
        weights = {f"steps.{i}.{key}": value for i, step in enumerate(kept) for key, value in step.weights.items()}
        return {"size": self._shape(self.graph.inputs[0])[1:3], "steps": steps, "outputs": outputs}, weights

    # What an operator is made of

    def _shape(self, tensor: int) -> list[int]:
        return [int(side) for side in self.graph.tensors[tensor].shape]

    def _name(self, tensor: int) -> str:
        if tensor in self.padded:
            raise ValueError("Only a convolution can take a border in.")
        return INPUT if tensor == self.graph.inputs[0] else str(tensor)

    def _constant(self, tensor: int) -> np.ndarray:
        if tensor in self.unpacked:
            return self.unpacked[tensor]
        about = self.graph.tensors[tensor]
        kinds = self.schema.TensorType
        kind = {kinds.FLOAT16: np.float16, kinds.FLOAT32: np.float32, kinds.INT32: np.int32}[about.type]
        values = np.frombuffer(bytes(self.model.buffers[about.buffer].data), dtype=kind)
        return values if about.sparsity is not None else values.reshape(self._shape(tensor))

    def _weight(self, tensor: int) -> np.ndarray:
        """A constant in half precision where that is exact."""
        values = self._constant(tensor)
        half = values.astype(np.float16)
        return half if np.array_equal(half.astype(values.dtype), values) else values

    def _activation(self, options: Any) -> str:
        kinds = self.schema.ActivationFunctionType
        return {kinds.NONE: "none", kinds.RELU: "relu", kinds.RELU6: "relu6"}[options.fusedActivationFunction]

    def _add_step(self, kind: str, operator: Any, inputs: int = 1, weights=None, **arguments: Any) -> None:
        names = [self._name(tensor) for tensor in operator.inputs[:inputs]]
        self.steps.append(_Step(kind, names, str(operator.outputs[0]), arguments, weights or {}))

    # Operators that unpack constants

    def _dequantize(self, operator: Any, _options: Any) -> None:
        self.unpacked[operator.outputs[0]] = self._constant(operator.inputs[0])

    def _densify(self, operator: Any, _options: Any) -> None:
        """Rows of the last dimension with their zeros left out become whole."""
        tensor = operator.inputs[0]
        sparsity, shape = self.graph.tensors[tensor].sparsity, self._shape(tensor)
        *whole, packed = sparsity.dimMetadata
        order = list(sparsity.traversalOrder)
        if order != list(range(len(shape))) or any(dimension.format for dimension in whole) or not packed.format:
            raise ValueError("Sparse weights are packed in a way that is not known here.")
        rows = np.repeat(np.arange(len(packed.arraySegments.values) - 1), np.diff(packed.arraySegments.values))
        dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), dtype=np.float16)
        dense[rows, packed.arrayIndices.values] = self._constant(tensor)
        self.unpacked[operator.outputs[0]] = dense.reshape(shape)

    # Operators that are steps

    def _conv_2d(self, operator: Any, options: Any) -> None:
        self._convolution(operator, options, self._weight(operator.inputs[1]).transpose(0, 3, 1, 2), groups=1)

    def _depthwise_conv_2d(self, operator: Any, options: Any) -> None:
        weight = self._weight(operator.inputs[1]).transpose(3, 0, 1, 2)
        self._convolution(operator, options, weight, groups=len(weight))

    def _convolution(self, operator: Any, options: Any, weight: np.ndarray, groups: int) -> None:
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            raise ValueError("No step does a dilated convolution.")
        stride = [options.strideH, options.strideW]
        tensor, border = self.padded.get(operator.inputs[0], (operator.inputs[0], (0, 0, 0, 0)))
        if options.padding == self.schema.Padding.SAME:
            size = self._shape(operator.inputs[0])[1:3]
            border = tuple(np.add(border, _same(size, weight.shape[2:], stride)).tolist())
        bias, activation = self._weight(operator.inputs[2]), self._activation(options)
        single = weight.shape[2:] == (1, 1) and stride == [1, 1] and not any(border)
        if single and groups == 1:
            weights = {"linear.weight": weight[:, :, 0, 0], "linear.bias": bias}
            self._add_step("pointwise", operator, weights=weights, shape=list(weight.shape[:2]), activation=activation)
        elif single and activation == "none":
            weights = {"weight": weight[:, 0], "bias": bias.reshape(-1, 1, 1)}
            self._add_step("scale", operator, weights=weights, channels=len(weight))
        else:
            weight, padding = _evened(weight, border)
            arguments = {
                "shape": list(weight.shape), "stride": stride, "groups": groups, "padding": padding,
                "activation": activation,
            }  # fmt: skip
            weights = {"convolution.weight": weight, "convolution.bias": bias}
            self.steps.append(_Step("convolution", [self._name(tensor)], str(operator.outputs[0]), arguments, weights))

    def _pad(self, operator: Any, _options: Any) -> None:
        (_, _), (top, bottom), (left, right), (before, after) = self._constant(operator.inputs[1]).tolist()
        if after and not (top or bottom or left or right or before):
            self._add_step("channels", operator, count=self._shape(operator.outputs[0])[3])
        elif not (before or after):
            self.padded[operator.outputs[0]] = (operator.inputs[0], (left, right, top, bottom))
        else:
            raise ValueError("No step adds a border and channels at once.")

    def _strided_slice(self, operator: Any, _options: Any) -> None:
        before, after = self._shape(operator.inputs[0]), self._shape(operator.outputs[0])
        if before[:3] != after[:3] or self._constant(operator.inputs[1]).any():
            raise ValueError("No step cuts anything but the last channels off.")
        self._add_step("channels", operator, count=after[3])

    def _max_pool_2d(self, operator: Any, options: Any) -> None:
        window = [options.filterHeight, options.filterWidth]
        size = self._shape(operator.inputs[0])[1:3]
        if window != [options.strideH, options.strideW] or np.mod(size, window).any():
            raise ValueError("No step takes the largest of windows that overlap or stick out.")
        self._add_step("max_pool", operator, window=window)

    def _resize_bilinear(self, operator: Any, options: Any) -> None:
        if options.alignCorners or not options.halfPixelCenters:
            raise ValueError("No step resizes with pixel centres at whole numbers.")
        self._add_step("resize", operator, size=self._shape(operator.outputs[0])[1:3])

    def _mean(self, operator: Any, _options: Any) -> None:
        if sorted(self._constant(operator.inputs[1]).tolist()) != [1, 2]:
            raise ValueError("No step takes a mean over anything but the picture.")
        self._add_step("mean", operator)

    def _fully_connected(self, operator: Any, options: Any) -> None:
        weight = self._weight(operator.inputs[1])
        if self._activation(options) != "none":
            raise ValueError("No step connects everything and cuts it off.")
        weights = {"linear.weight": weight, "linear.bias": self._weight(operator.inputs[2])}
        self._add_step("fully_connected", operator, weights=weights, shape=list(weight.shape))

    def _prelu(self, operator: Any, _options: Any) -> None:
        slope = self._weight(operator.inputs[1]).reshape(-1)
        self._add_step("prelu", operator, weights={"slope": slope}, channels=len(slope))

    def _add(self, operator: Any, options: Any) -> None:
        self._add_step("add", operator, inputs=2, activation=self._activation(options))

    def _relu(self, operator: Any, _options: Any) -> None:
        self._add_step("relu", operator)

    def _logistic(self, operator: Any, _options: Any) -> None:
        self._add_step("sigmoid", operator)

    def _depth_to_space(self, operator: Any, options: Any) -> None:
        self._add_step("depth_to_space", operator, block=options.blockSize)

    def _reshape(self, operator: Any, _options: Any) -> None:
        self._add_step("rows", operator, width=self._shape(operator.outputs[0])[-1])

    def _concatenation(self, operator: Any, options: Any) -> None:
        if options.axis != 1 or len(self._shape(operator.outputs[0])) != 3:
            raise ValueError("No step puts anything but rows together.")
        self._add_step("concatenate", operator, inputs=len(operator.inputs))


def _same(size: list[int], window: tuple[int, ...], stride: list[int]) -> tuple[int, int, int, int]:
    """TensorFlow's SAME border: left, right, top, bottom, the odd pixel right and below."""
    (top, bottom), (left, right) = (
        ((total := max((-(-side // step) - 1) * step + reach - side, 0)) // 2, total - total // 2)
        for side, reach, step in zip(size, window, stride)
    )
    return left, right, top, bottom


def _evened(weight: np.ndarray, border: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    """A kernel whose border has the same width on both sides: PyTorch pads only so without copying the picture.

    A row of zeros above the kernel stands for the missing row of border.
    """
    left, right, top, bottom = border
    if right < left or bottom < top:
        raise ValueError("No step does a convolution with more border on the left or above.")
    return np.pad(weight, ((0, 0), (0, 0), (bottom - top, 0), (right - left, 0))), [bottom, right]


if __name__ == "__main__":
    main()
