"""A page that searches a collection, and its server."""

import os
import re
import socket
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hslm_tf.command_line import load_extra
from hslm_tf.images.extraction_config import remembered_config
from hslm_tf.images.extractor import RegionExtractor
from hslm_tf.report.explanation import ExplainedHit, HitExplainer, untrained_note
from hslm_tf.report.gallery import Gallery
from hslm_tf.report.pages import render
from hslm_tf.retrieval.collection import Collection

if TYPE_CHECKING:
    import gradio
    from markupsafe import Markup

# Ids to choose from; any other can be typed.
_MOST_IDS = 1000
_MOST_RESULTS = 50
_LONGEST_SENTENCE = 1000
_LARGEST_FILE = "25mb"
# Seconds between looks at the uploaded photographs, and those after which one is removed.
_REMOVES_FILES = (60, 600)
# The page changes below the pointer: the focus goes to the new heading.
_TO_THE_RESULTS = "() => document.querySelector('.results h2')?.focus()"
# Flickr names the file of a photograph by its number and ten hexadecimal digits.
_FLICKR_FILE = re.compile(r"(\d+)_[0-9a-f]{10}(\.jpg)?")


class DemoSearch:
    """Searches a collection and shows the hits in HTML, or says why there are none."""

    def __init__(
        self, collection: Collection, image_folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.collection = collection
        self._explainer = HitExplainer(collection)
        self._image_folder = image_folder or collection.image_folder

    def images(self, sentence: str, count: int) -> "Markup":
        """Finds the images that a sentence describes."""
        tokenizer = self.collection.model.tokenizer
        words = tokenizer.read(sentence)
        read = words[: tokenizer.max_tokens - 2]
        unknown = [word for word, known in dict.fromkeys(read) if not known]
        if not words:
            return self._page(notes=["Write a sentence first."])
        listed = ", ".join(unknown[:10]) + (", …" if len(unknown) > 10 else "")
        if len(unknown) == len(set(read)):
            return self._page(notes=[f"The model knows none of these words: {listed}."])
        notes = []
        if len(read) < len(words):
            notes.append(f"Only the first {len(read)} of the {len(words)} words are read.")
        if unknown:
            notes.append(f"The model does not know: {listed}.")
        hits = self.collection.search([sentence], count)[0]
        return self._page(f"Images for “{sentence}”", notes, self._explainer.images(sentence, hits))

    def captions(self, image_id: str | None, count: int) -> "Markup":
        """Finds the captions that describe an image of the collection."""
        if not image_id:
            return self._page(notes=["Choose an image first."])
        try:
            hits = self.collection.search_by_image([image_id], count)[0]
        except ValueError as error:
            return self._page(notes=[str(error)])
        return self._page(f"Captions for {image_id}", [], self._explainer.captions(image_id, hits))

    @property
    def takes_photographs(self) -> bool:
        """Whether captions can be found for a photograph that is not in the collection."""
        return bool(self.collection.captions) and self.collection.encoded.extraction is not None

    def captions_of_photograph(self, file: str | None, count: int) -> "Markup":
        """Finds the captions that describe a photograph that is not in the collection."""
        if not file:
            return self._page(notes=["Choose a photograph first."])
        path = Path(file)
        try:
            features = self._extractor.extract_file(path)
        except (ValueError, OSError, ImportError) as error:
            return self._page(notes=[str(error).replace(file, path.name)])
        regions, mask = features.region_features, features.mask
        hits = self.collection.search_by_image(regions, count, region_mask=mask)[0]
        explained = self._explainer.captions_of_photograph(path, features, hits)
        return self._page(f"Captions for {path.name}", [], explained)

    @cached_property
    def _extractor(self) -> RegionExtractor:
        config = remembered_config(self.collection.encoded.extraction, "the collection")
        return RegionExtractor(config)

    def warm_up(self) -> None:
        """Searches both ways once, because the first search takes longer than the next."""
        self._explainer.images("a", self.collection.search(["a"], 1)[0])
        self.captions(self.collection.ids[0], 1)

    def _page(
        self, title: str = "", notes: Sequence[str] = (), hits: Sequence[ExplainedHit] = ()
    ) -> "Markup":
        hits = [
            hit if hit.file else hit._replace(beside=self._beside(hit.image_id)) for hit in hits
        ]
        html = Gallery(hits, self._image_folder).html(hits)
        return render("results.html", title=title, notes=notes, hits=html)

    def _beside(self, image_id: str) -> "Markup":
        """Shows a link to the photograph, a button and the first caption beside an image."""
        encoded, photo = self.collection.encoded, _FLICKR_FILE.fullmatch(image_id)
        image = int(encoded.rows_of([image_id])[0])
        captions = (encoded.caption_to_image == image).nonzero()[0]
        return render(
            "beside.html",
            image_id=image_id,
            photo=photo and photo[1],
            caption=encoded.captions[captions[0]] if len(captions) else "",
            has_captions=bool(encoded.captions),
        )


def demo_page(search: DemoSearch) -> "gradio.Blocks":
    """Makes a page with a sentence to write, an image to choose, and their hits."""
    gr = load_extra("gradio", "demo")
    collection = search.collection
    note = untrained_note(collection.model)
    with gr.Blocks(title="hslm_tf", analytics_enabled=False, delete_cache=_REMOVES_FILES) as page:
        gr.Markdown(f"# Search {len(collection)} images and {len(collection.captions)} captions")
        gr.Markdown(
            note or "Point at a word to see the regions that it attends to.",
            visible=collection.model.config.cross_attention,
        )
        with gr.Row():
            sentence = gr.Textbox(
                label="Sentence",
                placeholder="a dog runs through snow",
                max_lines=1,
                max_length=_LONGEST_SENTENCE,
                scale=3,
                min_width=300,
            )
            find_images = gr.Button("Find images", variant="primary", min_width=200)
        with gr.Row(visible=bool(collection.captions)):
            image_id = gr.Dropdown(
                collection.ids[:_MOST_IDS],
                value=None,
                label="Image",
                allow_custom_value=True,
                scale=3,
                min_width=300,
            )
            find_captions = gr.Button("Find captions", min_width=200)
            photograph = gr.UploadButton(
                "Upload a photograph",
                file_types=["image"],
                visible=search.takes_photographs,
                min_width=200,
            )
        count = gr.Slider(1, _MOST_RESULTS, 10, step=1, label="Number of results")
        results = gr.HTML(
            elem_classes="results", js_on_load=_template("demo.js"), apply_default_css=False
        )

        def captions_of_clicked(count: int, event: gr.EventData) -> tuple[str, str]:
            return event.image_id, search.captions(event.image_id, count)

        shown = {"api_visibility": "private", "show_progress": "minimal"}
        events = [sentence.submit, find_images.click]
        gr.on(events, search.images, [sentence, count], results, **shown)
        find_captions.click(search.captions, [image_id, count], results, **shown)
        photograph.upload(search.captions_of_photograph, [photograph, count], results, **shown)
        clicked = results.select(captions_of_clicked, count, [image_id, results], **shown)
        clicked.then(None, js=_TO_THE_RESULTS)
    return page


def serve(page: "gradio.Blocks", host: str, port: int, names: Sequence[str] = ()) -> str:
    """Serves a page, which loads nothing from the internet, until the program ends."""
    gr = load_extra("gradio", "demo")
    from fastapi import Depends, HTTPException, Request
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # Else any page that somebody has open could upload files, and read answers by a name of its own
    # that it lets stand for this machine.
    def same_origin(request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers["host"]:
            raise HTTPException(403, f"a page of {origin} is not the demo's")

    hosts = [host, "localhost", "127.0.0.1", socket.gethostname(), *names]
    # Gradio's own themes load fonts from the internet.
    theme = gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(button_primary_background_fill="*primary_700", body_text_color_subdued="*neutral_600")
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        theme=theme,
        head=f"<style>\n{_template('gallery.css')}{_template('demo.css')}</style>",
        app_kwargs={
            "middleware": [Middleware(TrustedHostMiddleware, hosts, www_redirect=False)],
            "dependencies": [Depends(same_origin)],
        },
        max_file_size=_LARGEST_FILE,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
    )
    return address


def _template(name: str) -> str:
    return (files("hslm_tf.report") / "templates" / name).read_text("utf-8")
