"""Pages on what a model learnt: tables, explanations, galleries."""
