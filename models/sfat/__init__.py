"""SFAT, the semantic frame aggregation-based transformer (arXiv 2510.26978)."""
