"""Who is ranked: entrants, models that only choose, the simple scorers, golden scorers, and the shortcut panel."""
