"""All that is generated from tables: documents, lists, schemas."""
