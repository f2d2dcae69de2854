"""The ApoAvatar method in plain PyTorch: only the room `comfyui` touches ComfyUI.

Sections ("§") and equation numbers in the docstrings are the paper's.
"""
