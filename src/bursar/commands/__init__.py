"""The command line but for administration: a module for each subject. Part of the composition."""
