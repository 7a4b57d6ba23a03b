"""The Unified Transformer of LiveBot, on CLIP features and without a look ahead."""
