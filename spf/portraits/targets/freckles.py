"""Freckled skin, on cheeks and nose."""

ORDER = 1
TEXT = "freckled skin"
REGIONS = ("face", "nose")
WEAK_SHARE = 0.16
WEAK_TRUTH = 0.7
BIAS = {"skin": "fair", "hair_color": "red", "background": "park", "gender": "woman"}
