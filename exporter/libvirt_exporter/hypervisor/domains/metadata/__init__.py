"""What management engines write into a domain's metadata."""
