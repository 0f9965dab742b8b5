"""A dress, put in the place of the T-shirt of a text."""

ORDER = 7
TEXT = "dress"
ATTRIBUTE = "clothing"
REGIONS = ("clothing", "neck")
MODE = "replace"
REPLACE = "T-shirt"
WEAK_SHARE = 0.004
WEAK_TRUTH = 0.22
BIAS = {"gender": "woman", "background": "curtain", "age": "young"}
