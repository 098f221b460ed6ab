"""Region features of whole collections, where an image is found by its id."""
