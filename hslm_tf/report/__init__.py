"""What a model learnt: tables, explanations, galleries."""
