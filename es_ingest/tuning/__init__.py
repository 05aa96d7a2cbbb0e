"""Measures recall and latency of search settings on copies of an index's own vectors, and recommends one."""
