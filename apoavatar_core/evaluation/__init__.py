"""How well a model of the drawn presenter speaks, gestures and follows a pose, measured on the pictures it makes."""
