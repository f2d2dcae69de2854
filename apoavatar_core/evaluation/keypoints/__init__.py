"""The paper's Tables 4 and 5 in keypoints: small trainings, and so enough of them to decide.

A voice and its performance (`voices`, `world`) → a variant is trained (`network`, `training`) → it makes motion in every mode
(`modes`), which is measured (`measuring`) and kept (`runs`) → the answers to the `questions` make the `page`.
"""
