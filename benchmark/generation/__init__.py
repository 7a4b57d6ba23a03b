"""How good are comments that a model wrote? Overlap with what people said, variety, and what was merely copied.

    material = Material.read(dataset)                         # test clips, references, one comment held out
    result = assess({"sfat": comments}, material)
    print(to_text(result))

`videochat bench-generation` is the command. Ranking stays the headline: overlap metrics reward what is generic, so
every table carries anchors (a person's held-out comment, the most popular comment, a copy of the last one).
"""
