"""Candidate sets: what clips are asked, how groups and negatives are chosen, frozen files, and what a model may see.

sets = build_candidates(workspace, dataset, "v1")     # build.py
sets = load_candidates(workspace, dataset, "v1")
sets["random10"].candidates                           # sets.py: int32 (n, 10), numbers into sets.texts
"""
