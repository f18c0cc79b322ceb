"""What is known of a host and its domains beside their statistics."""
