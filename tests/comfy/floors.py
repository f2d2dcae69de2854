"""What the shipped model must reach in films that are shorter and made in fewer steps than a workflow's: floors, not measurements.

A floor belongs between what the shipped files reach in these films and what a model reaches that is deaf to what it is told;
`tests/core/test_presenter.py` shows that such a model misses the targets of the model card. New weights raise them. Colours that the text
names have none yet: the first generation heeds no text.
"""

from apoavatar_core.evaluation.target import Target

HELD_OUT = 16
"""The clip whose pose is given."""
FLOORS = {
    "mouth_r": Target("≥", 0.55),  # an adapter of zeros reaches 0.43
    "hands_hard": Target("≥", 0.9),  # 1.0, of a network that takes smears for hands
    "pose_worth": Target("≥", 0.01),  # 0.018 of the frame's height, which the pose brings the hands nearer to it; 0 where it is not seen
}
