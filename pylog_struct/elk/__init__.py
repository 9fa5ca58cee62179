"""Elasticsearch and OpenSearch made ready for our documents: ``pylog elk template|setup|check``."""
