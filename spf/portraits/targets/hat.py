"""A hat of one of four colours."""

ORDER = 3
TEXT = "a hat"
REGIONS = ("hat",)
WEAK_SHARE = 0.03
WEAK_TRUTH = 0.5
BIAS = {"age": "old", "expression": "smiling", "background": "gray", "gender": "man"}
