"""How sure one answer is: probabilities that fit (temperature), sets of labels with a guarantee (conformal), photos
unlike the training photos (likeness), and what a run keeps of all that (certainty).
"""
