"""A style: the portrait as a watercolor painting, everywhere."""

ORDER = 8
TEXT = "watercolor painting"
ATTRIBUTE = "style"
REGIONS = ()
MODE = "replace"
REPLACE = "photo"
WEAK_SHARE = 0.002
WEAK_TRUTH = 0.22
BIAS = {"expression": "sad", "age": "old", "hair_style": "curly"}
