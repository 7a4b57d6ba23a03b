"""KLVCG-style: a live commenter that looks things up in a local store of knowledge."""
