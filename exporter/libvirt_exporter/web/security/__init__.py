"""Who may ask: the web configuration, TLS, users, and their middleware."""
