"""The ApoAvatar method in plain PyTorch: nothing in this package imports ComfyUI.

Sections ("§") and equation numbers in the docstrings are the paper's.
"""
