// A click on an answer's button, or on its picture, asks for the image's captions.
element.addEventListener("click", event => {
    const button = event.target.closest(".answer")?.querySelector(".ask");
    if (button && event.target.closest(".ask, .picture")) {
        trigger("select", {image_id: button.value});
    }
});
