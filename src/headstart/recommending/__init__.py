"""Which backbone suits the photos: candidates, scores of their features, a ranking for a budget, and how sure it is."""
