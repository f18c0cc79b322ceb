"""What a scrape costs: figures to compare, never a test that passes or fails."""
