"""From a trained model to a SavedModel that TensorFlow Serving runs.

Importing this package alone does not load TensorFlow.
"""
