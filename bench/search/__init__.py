"""Searching: ours beside Haystack's own retrievers for Elasticsearch, on the same index of one server."""
