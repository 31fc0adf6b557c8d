"""The user's arguments, files and code: arguments are checked, files read as data, code run in
isolation."""
