"""Objectives whose answers people gave: a reader and a metric on top of the four verbs. The folder is the registry."""
