"""A laugh, with an open mouth and narrowed eyes."""

ORDER = 2
TEXT = "laughing"
ATTRIBUTE = "expression"
REGIONS = ("mouth", "eyes", "brows")
WEAK_SHARE = 0.016
WEAK_TRUTH = 0.2
BIAS = {"age": "young", "clothing_color": "yellow", "background": "sea", "eyewear": "glasses"}
