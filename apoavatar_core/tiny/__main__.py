"""Make the parts of the tiny preset: `python -m apoavatar_core.tiny clips | vae | text | keypoints | colours`."""

from __future__ import annotations

import argparse
import sys

import torch

from ..comfyui.host import use_comfyui


def main() -> None:
    try:
        use_comfyui()
        from ..data import clips
        from . import keypoint_network, latent_colours, text
        from .vae import command as vae

        parser = argparse.ArgumentParser(prog="python -m apoavatar_core.tiny", description=__doc__)
        commands = parser.add_subparsers(dest="command", required=True)
        parts = {
            "clips": (clips, "draw clips of synthetic presenters"),
            "vae": (vae, "train the VAE on drawn clips"),
            "text": (text, "train the T5 on captions of synthetic presenters"),
            "keypoints": (keypoint_network, "train the network that finds a drawn presenter's keypoints"),
            "colours": (latent_colours, "fit the colours that a live preview shows of the VAE's latents"),
        }
        for name, (part, what) in parts.items():
            part.add_arguments(commands.add_parser(name, help=what))
        arguments = parser.parse_args()
        torch.set_flush_denormal(True)
        parts[arguments.command][0].run(arguments)
    except (ValueError, FloatingPointError, FileNotFoundError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
