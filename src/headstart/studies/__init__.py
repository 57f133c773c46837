"""Studies: arms x seeds from a recipe, one report. (The function is ``headstart.study``; decision 10 says why the names
differ.)
"""
