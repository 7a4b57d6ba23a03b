"""Video-ChatGPT-style: CLIP vectors of the frames as tokens of a frozen causal language model."""
