"""Decode video, embed frames and comment texts with CLIP, and fingerprint what was done."""
