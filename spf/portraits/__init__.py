"""Drawn portraits: a plain description of a person, its picture, its caption and its exact
regions."""
