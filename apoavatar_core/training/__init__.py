"""Training of DiT and adapter (§4.1), through the same modules and hooks that inference uses."""
