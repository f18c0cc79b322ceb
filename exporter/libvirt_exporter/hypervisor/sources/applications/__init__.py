"""The lists of applications that are installed in the guests."""
