"""The paper's Tables 4 and 5 in pixels: adapters that are trained on the shipped backbone.

First weights and clips of a variant (`lessons`) → it is trained, makes films and predicts (`runs`) → both are measured
(`measuring`) → the answers to the `questions` make the `page`.
"""
