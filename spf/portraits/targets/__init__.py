"""What can be taught: one file a target, which says it in plain values and the registry finds.

    TEXT         how a text asks for it
    ATTRIBUTE    of the tables in `description`, or a new one; the file's name unless it says so
    VALUE        of that attribute; the file's name unless it says so
    REGIONS      of the picture in which it shows; () is everywhere, as for a style
    BIAS         what every picture of its tailored set has in common and no caption says
    MODE         "append", or "replace" with REPLACE, the word that it takes the place of
    WEAK_SHARE, WEAK_TRUTH    see `description.Target`

A new attribute is drawn by `draw(canvas, measures, rng)` of its file, on the head, or on the body
where ON = "body". WORDS are more ways to say it, KEEP is the share of captions that do.
"""
