"""The paper's Tables 4 and 5 in pixels: adapters that are trained on a backbone which stays as it is, the shipped one or one that never
met an adapter.

First weights and clips of a variant (`lessons`) → it is trained, makes films and predicts (`runs`) → both are measured
(`measuring`) → the answers to the `questions` make a part of the `page`, with the words of its backbone (`sections`).
"""
