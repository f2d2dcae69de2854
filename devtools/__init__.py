"""What `dev.py` is made of. Importing any of it needs nothing but the standard library."""
