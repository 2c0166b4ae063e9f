"""Runs as a whole: how one is set up from a file, started, and carried to other trainers and servers."""
