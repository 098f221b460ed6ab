"""Looks at pages as a reader or a browser would."""

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a | b",
    "two\nlines",
    "![pixel](http://example.org/p.png) [a](javascript:b) **c** `d` &amp; $e$",
)


class Page(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> list[str]:
        return "".join(self.text).split()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_page(text: str, folder: Path | None = None) -> Page:
    """Checks that a page needs nothing else, runs nothing and can be read without eyes."""
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "link", "object", "embed", "base", "form"}
    assert "@import" not in text and "url(http" not in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name)
            if target is None or target.startswith("data:image/jpeg;base64,"):
                continue
            if target.startswith("#"):
                assert target[1:] in ids, target
            else:
                assert tag == "a" and folder is not None and (folder / target).is_file(), target
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert len(page.all("table")) == len(page.all("caption"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"], bool(svg["aria-label"])) == (
            "img",
            True,
        )
    assert all("alt" in image for image in page.all("img"))
    return page
