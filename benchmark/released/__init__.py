"""Protocol `released-2025`: what the paper's released evaluation does, defects included, each of them a switch."""
