"""The tiny Wan-layout VAE: trained on drawn clips, measured on held-out ones."""
