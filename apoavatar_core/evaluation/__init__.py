"""How well a model speaks, gestures and follows a pose, measured on the pictures it makes."""
