"""TTE, the three-stream model of LiveChat, on CLIP features."""
