"""The parts of ``KafkaSink``: settings, keys, one librdkafka producer, and what its errors mean."""
