"""What is known of each domain from its XML and metadata."""
