"""A page to ask a collection, and its server."""

from importlib.resources import files
from typing import TYPE_CHECKING

from hslm_tf.extras import load_extra
from hslm_tf.report.asked_collection import AskedCollection
from hslm_tf.report.explanation import UNTRAINED, words_look

if TYPE_CHECKING:
    import gradio

# Ids to choose from; any other can be typed.
_MOST_IDS = 1000
_MOST_ANSWERS = 50
_LONGEST_SENTENCE = 1000
# Where the focus goes when the page has changed below the pointer.
_TO_THE_ANSWERS = "() => document.querySelector('.asked h2')?.focus()"


def demo_page(asked: AskedCollection, answers: int = 10) -> "gradio.Blocks":
    """Makes a page with a sentence to write, an image to choose, and their answers."""
    gr = load_extra("gradio", "demo")
    collection = asked.collection
    title = f"# Search {len(collection)} images and {len(collection.captions)} captions"
    model, look = collection.model, "Point at a word to see the regions that it attends to."
    with gr.Blocks(title="hslm_tf", analytics_enabled=False) as page:
        gr.Markdown(title)
        gr.Markdown(look if words_look(model) else UNTRAINED, visible=model.config.cross_attention)
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
                visible=asked.takes_photographs,
                min_width=200,
            )
        count = gr.Slider(1, _MOST_ANSWERS, answers, step=1, label="Number of answers")
        found = gr.HTML(
            elem_classes="asked", js_on_load=_template("demo.js"), apply_default_css=False
        )

        def captions_of_clicked(count: int, event: gr.EventData) -> tuple[str, str]:
            return event.image_id, asked.captions(event.image_id, count)

        shown = {"api_visibility": "private", "show_progress": "minimal"}
        asks_images = [sentence.submit, find_images.click]
        gr.on(asks_images, asked.images, [sentence, count], found, **shown)
        find_captions.click(asked.captions, [image_id, count], found, **shown)
        photograph.upload(asked.captions_of_photograph, [photograph, count], found, **shown)
        clicked = found.select(captions_of_clicked, count, [image_id, found], **shown)
        clicked.then(None, js=_TO_THE_ANSWERS)
    return page


def serve(page: "gradio.Blocks", host: str, port: int) -> str:
    """Serves a page, which asks nothing of the internet."""
    gr = load_extra("gradio", "demo")
    # Gradio's own themes load fonts from the internet.
    theme = gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(button_primary_background_fill="*primary_700", body_text_color_subdued="*neutral_600")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            theme=theme,
            head=f"<style>\n{_template('gallery.css')}{_template('demo.css')}</style>",
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
    except OSError as error:
        raise OSError(f"nothing can listen at {host}:{port}: is the port taken?") from error
    return address


def _template(name: str) -> str:
    return (files("hslm_tf.report") / "templates" / name).read_text("utf-8")
