"""The composition root: served hosts, views of them, queries, the exporter's own metrics."""
