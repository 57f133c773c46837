"""How good a classifier is, and how sure that is. In: probabilities and labels. Out: metrics, intervals, the mistakes
worth seeing."""
