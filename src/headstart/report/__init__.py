"""One HTML file that opens anywhere. In: a ``RunReport`` or a ``CompareReport``. Out: its text."""
