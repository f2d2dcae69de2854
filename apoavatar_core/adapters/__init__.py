"""The trainable branches that turn a video DiT into ApoAvatar."""

from .adapter import ApoAvatarAdapter
from .config import AdapterConfig

__all__ = ["AdapterConfig", "ApoAvatarAdapter"]
