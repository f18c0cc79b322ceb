"""Made-up numbers that stay the same whatever else is made up."""

from zlib import crc32


def number_of(text: str) -> int:
    """A number from 1 to a million, always the same for the same text."""
    return 1 + crc32(text.encode()) % 1_000_000
