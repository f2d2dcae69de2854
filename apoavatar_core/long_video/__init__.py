"""Films of any length, window after window: which frames, how they are kept on disk, and how they become one file."""
