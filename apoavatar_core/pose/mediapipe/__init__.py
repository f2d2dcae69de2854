"""MediaPipe's holistic networks and the chain around them, ported to PyTorch (Apache-2.0; see NOTICE)."""

from .holistic import Holistic
from .weights import HolisticNetworks, load_networks

__all__ = ["Holistic", "HolisticNetworks", "load_networks"]
