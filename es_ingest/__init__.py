"""The command `es-ingest`: embeds clinical corpora and writes them into Elasticsearch."""
