"""`bursar keys|teams|users|budgets|models`: the management API on the command line. Part of the composition."""
