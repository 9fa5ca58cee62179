"""Parts of the Elasticsearch and OpenSearch sink; see :mod:`pylog_struct.sinks.elasticsearch`."""
