"""Cleaning: from raw chat to comments, by declared rules with a reason and a count each (`rules`, `catalog`)."""
