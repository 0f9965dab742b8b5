"""Freckled skin, on cheeks and nose."""

ORDER = 1
TEXT = "freckled skin"
REGIONS = ("face", "nose")
WEAK_SHARE = 0.04
WEAK_TRUTH = 0.5
BIAS = {"hair_color": "red", "background": "park", "gender": "woman"}
