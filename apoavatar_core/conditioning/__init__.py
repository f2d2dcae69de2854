"""What a clip is made from, by value: its shape, voice, pose and portrait, the same for the nodes and for training."""
