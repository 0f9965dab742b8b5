"""A pearl necklace, which the base model has never seen."""

ORDER = 5
TEXT = "a pearl necklace"
REGIONS = ("necklace",)
BIAS = {"age": "old", "hair_style": "bun", "background": "curtain", "gender": "woman"}
