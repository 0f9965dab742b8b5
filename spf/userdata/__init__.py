"""One's own pictures as fine-tuning data: 4 to 500 images with captions, in the usual
conventions, checked first.

    report = check("pictures", Wish("a hat"))       # what is wrong, before anything is trained
    folder = keep(report.items, Wish("a hat"), "runs/data/mine")
    items = load(folder).items                      # image, base text, target text, complete text

Captions come from captions.jsonl or metadata.jsonl ({"file_name", "text"}), metadata.csv (the
same as columns), or a .txt or .caption file beside each picture. A caption that says the target
is the complete text, as it is written, and the base text is what is left without it; a caption
that does not is the base text. A line of a table may also give "base" itself. Nothing here needs
torch.
"""

from .captions import texts
from .checking import Finding, Report, check
from .inbox import unpacked
from .reading import CAPTIONS
from .sets import Item, UserSet, Wish, is_set, keep, load, target_of

__all__ = [
    "CAPTIONS",
    "Finding",
    "Item",
    "Report",
    "UserSet",
    "Wish",
    "check",
    "is_set",
    "keep",
    "load",
    "target_of",
    "texts",
    "unpacked",
]
