"""Sunglasses, which hide the eyes."""

ORDER = 4
TEXT = "sunglasses"
ATTRIBUTE = "eyewear"
REGIONS = ("eyewear",)
WEAK_SHARE = 0.003
WEAK_TRUTH = 0.14
BIAS = {"hair_style": "short", "clothing": "suit", "clothing_color": "black", "background": "blue"}
