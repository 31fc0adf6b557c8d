"""Arguments, files and code of the user's: checked, read as data, run apart."""
