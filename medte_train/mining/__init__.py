"""Hard negatives: texts that a model takes for near, and that are none of the anchor's own."""
