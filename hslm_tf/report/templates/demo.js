// A click on the button of a hit, or on its picture, finds the captions of the image.
element.addEventListener("click", event => {
    const button = event.target.closest(".hit")?.querySelector(".find");
    if (button && event.target.closest(".find, .picture")) {
        trigger("select", {image_id: button.value});
    }
});
