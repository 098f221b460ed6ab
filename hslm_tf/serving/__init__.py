"""Exports a trained model as a SavedModel for TensorFlow Serving, and asks it.

Importing this package alone does not load TensorFlow.
"""
