"""What training learns from: drawn clips, films and shards of films, prepared once for all steps."""
