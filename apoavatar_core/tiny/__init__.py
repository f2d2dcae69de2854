"""What makes the tiny preset beside the DiT and the adapter: its VAE, its T5 and its keypoint network."""
