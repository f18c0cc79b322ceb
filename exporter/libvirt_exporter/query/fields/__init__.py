"""The VM fields: what each is called, means, and how it is computed."""
