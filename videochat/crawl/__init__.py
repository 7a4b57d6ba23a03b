"""Fetch recordings with their chat: complete, or loudly incomplete."""
