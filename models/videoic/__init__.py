"""MML-CG, the model of VideoIC, on CLIP features and without a look ahead."""
