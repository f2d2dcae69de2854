"""Model files: the adapter format and the presets that ship with the pack."""
