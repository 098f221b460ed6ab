"""What people ask a collection, answered in HTML."""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hslm_tf.images.asking import PhotographReader
from hslm_tf.report.found_answers import FoundAnswers
from hslm_tf.report.gallery import Answer, answers_html
from hslm_tf.report.rendering import render
from hslm_tf.retrieval.collection import Collection
from hslm_tf.text.tokenization import tokenize

if TYPE_CHECKING:
    from markupsafe import Markup

# Flickr calls the file of a photograph by its number and ten hexadecimal digits.
_FLICKR_FILE = re.compile(r"(\d+)_[0-9a-f]{10}(\.jpg)?")


class AskedCollection:
    """Answers what people ask a collection, and says why where it has no answer."""

    def __init__(
        self, collection: Collection, image_folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.collection = collection
        self._found = FoundAnswers(collection)
        self._image_folder = image_folder or collection.image_folder
        self._vocabulary = frozenset(collection.model.vocabulary)

    def images(self, sentence: str, count: int) -> "Markup":
        """Finds the images that a sentence describes."""
        words = [word.decode() for word in tokenize([sentence])[0].numpy()]
        read = words[: self.collection.model.tokenizer.max_tokens - 2]
        unknown = [word for word in dict.fromkeys(read) if word not in self._vocabulary]
        if not words:
            return self._page(notes=["Write a sentence first."])
        if set(unknown) == set(read):
            return self._page(notes=[f"The model knows none of these words: {_listed(unknown)}."])
        notes = []
        if len(read) < len(words):
            notes.append(f"Of the {len(words)} words only the first {len(read)} are read.")
        if unknown:
            notes.append(f"The model does not know: {_listed(unknown)}.")
        hits = self.collection.search([sentence], count)[0]
        return self._page(f"Images for “{sentence}”", notes, self._found.images(sentence, hits))

    def captions(self, image_id: str | None, count: int) -> "Markup":
        """Finds the captions that describe an image of the collection."""
        if not image_id:
            return self._page(notes=["Choose an image first."])
        try:
            hits = self.collection.search_by_image([image_id], count)[0]
        except ValueError as error:
            return self._page(notes=[str(error)])
        return self._page(f"Captions for {image_id}", [], self._found.captions(image_id, hits))

    @property
    def takes_photographs(self) -> bool:
        """Whether captions can be found for a photograph that is not in the collection."""
        return bool(self.collection.captions) and self.collection.encoded.extraction is not None

    def captions_of_photograph(self, file: str | None, count: int) -> "Markup":
        """Finds the captions that describe a photograph that somebody brings."""
        if not file:
            return self._page(notes=["Choose a photograph first."])
        path = Path(file)
        try:
            features = self._reader.read(path)
        except (ValueError, OSError, ImportError) as error:
            return self._page(notes=[str(error).replace(file, path.name)])
        asked = features.region_features
        hits = self.collection.search_by_image(asked, count, region_mask=features.mask)[0]
        answers = self._found.captions_of_photograph(path, features, hits)
        return self._page(f"Captions for {path.name}", [], answers)

    @cached_property
    def _reader(self) -> PhotographReader:
        return PhotographReader(self.collection.encoded.extraction, "the collection")

    def warm_up(self) -> None:
        """Asks both ways, so that nobody waits for what only the first answer takes."""
        self._found.images("a", self.collection.search(["a"], 1)[0])
        self.captions(self.collection.ids[0], 1)

    def _page(
        self, title: str = "", notes: Sequence[str] = (), answers: Sequence[Answer] = ()
    ) -> "Markup":
        answers = [
            answer if answer.file else answer._replace(beside=self._beside(answer.image_id))
            for answer in answers
        ]
        html = answers_html(answers, self._image_folder)
        return render("asked.html", title=title, notes=notes, answers=html)

    def _beside(self, image_id: str) -> "Markup":
        """What stands beside an image: how people describe it, its page at Flickr, a button."""
        encoded, photo = self.collection.encoded, _FLICKR_FILE.fullmatch(image_id)
        row = int(encoded.rows_of([image_id])[0])
        own = (encoded.caption_to_image == row).nonzero()[0]
        return render(
            "beside.html",
            image_id=image_id,
            photo=photo and photo[1],
            caption=encoded.captions[own[0]] if len(own) else "",
            has_captions=bool(encoded.captions),
        )


def _listed(words: Sequence[str], most: int = 10) -> str:
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")
