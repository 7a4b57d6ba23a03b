"""Comments as texts: when two are the same, as integers, and as vectors, of their words or by an encoder."""
