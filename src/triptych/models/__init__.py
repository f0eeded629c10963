"""One family, one file; the file's name is the family's name on the command line."""
