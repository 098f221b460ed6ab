"""Collections that are encoded by many processes or machines: Apache Beam pipelines.

Its modules need the extra `beam`; importing the package alone does not.
"""
