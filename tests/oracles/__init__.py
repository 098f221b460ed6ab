"""The paper's equations in float64 NumPy, one image and one caption at a time.

An oracle sees only real words and real regions, so it knows no masks and no padding, and it
shares no code with the layers it checks.
"""
