"""`python -m tests.browser.screenshot RUN FILE.png`: the demo's results for a sentence.

On the built-in sample it shows no photograph: the sample has none.
"""

import sys

from tests.browser.chromium import chromium, running_demo


def main(run: str, file: str) -> None:
    with running_demo(run) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(address)
        page.get_by_role("spinbutton").fill("3")
        page.get_by_label("Sentence").fill("a brown dog runs through snow")
        page.keyboard.press("Enter")
        word = page.locator(".word", has_text="dog").first
        word.wait_for()
        page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
        word.hover()
        page.screenshot(path=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
