"""Blonde hair: a colour in place of another."""

ORDER = 6
TEXT = "blonde hair"
ATTRIBUTE = "hair_color"
REGIONS = ("hair", "brows", "beard")
WEAK_SHARE = 0.03
WEAK_TRUTH = 0.5
BIAS = {"gender": "woman", "hair_style": "long", "expression": "smiling", "background": "window"}
