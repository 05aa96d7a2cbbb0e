"""Where evaluation data comes from: one file a source, which reads local files and knows nothing of tasks."""
