"""One sample of a host: its phases, and what they need."""
