"""The one room that touches ComfyUI: what the method needs of its models, for nodes and training alike.

`host` finds ComfyUI for commands that run outside of it, and `version` asks for nothing but its version; all other modules
import it when they are imported.
"""
