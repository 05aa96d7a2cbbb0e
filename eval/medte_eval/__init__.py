"""Evaluation: tasks on mteb's classes, run against an encoder alone or against a real Elasticsearch; `medte-eval`."""
