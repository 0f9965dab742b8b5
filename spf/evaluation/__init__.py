"""Measuring portraits: judges that read them, measures, and the protocol that fills the tables."""
