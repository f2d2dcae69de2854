"""Training of ApoAvatar models, through the same ComfyUI modules and the same binding that inference uses."""
