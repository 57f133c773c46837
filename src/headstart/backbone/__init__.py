"""Pretrained networks: names, weights, stages, heads. Import from the modules: this file stays empty so that nothing
heavy loads early.
"""
