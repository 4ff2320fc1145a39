"""What MkDocs is told beyond `mkdocs.yml`, so that the same Markdown reads well on GitHub too.

- `experiments/README.md` and its images lie outside `docs/`; here they become a page of the site,
  and so does every notebook. Links across that border are turned to where the pages lie there.
- Lists are indented as Python-Markdown wants them, by four spaces, not by their marker's width.
- Equations, `$…$` and `$$…$$`, become MathML, which browsers draw without a script.
- The index of the search also becomes a script: where it is missing, the scripts of pages that are
  opened straight from the disk end before they have begun.
- A built page that would load anything from elsewhere is a warning, and so an error in strict mode.
"""

import html
import html.parser
import json
import logging
import pathlib
import posixpath
import re

import latex2mathml.converter
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.hooks.rnnseg")  # below "mkdocs", so that strict mode counts

_EXPERIMENTS = "experiments/README.md"
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=\))")
_ITEM = re.compile(r"(?:[-*+]|\d+[.)]) +")
_FENCE = re.compile(r"```|~~~")
# What pymdownx.arithmatex leaves in a page.
_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_files(files, config):
    """Adds the pages that are made of notebooks and of files outside `docs/`."""
    folder = pathlib.Path(config.config_file_path).parent / "experiments"
    for path in (folder / "README.md", *sorted(folder.glob("*.png"))):
        files.append(File.generated(config, f"experiments/{path.name}", abs_src_path=str(path)))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = notebook_page(notebook.content_string, posixpath.basename(notebook.src_uri))
        files.append(File.generated(config, _page_of(notebook.src_uri), content=page))
    return files


def on_page_markdown(markdown, page, config, files):
    """Makes of a page for GitHub one for the site."""
    if page.parent is None:  # of no section, so there is nothing to list beside it
        page.meta.setdefault("hide", ["navigation"])
    return indented_lists(site_links(markdown, page.file.src_uri))


def on_page_content(content, page, config, files):
    """Makes MathML of the equations, and warns of those that cannot be drawn."""

    def drawn(equation):
        block = equation["tag"] == "div"
        try:
            result = mathml(html.unescape(equation["latex"]), block)
        except ValueError as error:
            log.warning("Doc file '%s': %s", page.file.src_uri, error)
            return equation[0]
        return f'<div class="equation">{result}</div>' if block else result

    return _EQUATION.sub(drawn, content)


def on_post_page(output, page, config):
    """Warns of whatever the page would load from elsewhere."""
    for url in external_loads(output):
        log.warning("Doc file '%s' would load %s from elsewhere", page.file.src_uri, url)
    return output


@event_priority(-100)  # after the search has written its index
def on_post_build(config):
    """Writes the script of the search's index."""
    index = pathlib.Path(config.site_dir, "search", "search_index.json")
    script = f"var __index = {index.read_text(encoding='utf-8')}"
    index.with_suffix(".js").write_text(script, encoding="utf-8")


def site_links(markdown: str, page: str) -> str:
    """Markdown whose relative links hold on the site.

    Args:
      markdown: a page, whose links hold in the checkout, as GitHub follows them.
      page: its path on the site, which for all but `experiments/README.md` is that below `docs/`.

    Returns:
      The same with links to `README.md`, `docs/…`, `experiments/…` and notebooks turned. One to any
      other file is left as it is, so that MkDocs warns of it.
    """
    here = posixpath.dirname(page)
    folder = here if page == _EXPERIMENTS else posixpath.join("docs", here)

    def turned(link):
        if re.match(r"[a-z]+:|/", link["path"]):
            return link[0]
        target = posixpath.normpath(posixpath.join(folder, link["path"]))
        if target == "README.md":
            target = "docs/index.md"
        if not target.startswith(("docs/", "experiments/")):
            return link[0]
        target = _page_of(target.removeprefix("docs/"))
        return posixpath.relpath(target, here or ".") + (link["anchor"] or "")

    return _LINK.sub(turned, markdown)


def indented_lists(markdown: str) -> str:
    """Markdown whose lists Python-Markdown reads as CommonMark does.

    What belongs to an item is indented by four spaces a level, and a blank line goes before a list.
    Lines that go on with an item's text without any indentation are not known here.
    """
    lines, offsets, fenced, listed = [], [], False, False
    for line in markdown.split("\n"):
        text = line.lstrip()
        indent = len(line) - len(text)
        marker = None
        if text and not fenced:
            while offsets and indent < offsets[-1]:
                offsets.pop()
            if indent < sum(offsets[-1:]) + 4:  # further in it is code
                marker = _ITEM.match(text)
        begins = not lines or not lines[-1]
        if marker and not begins and not listed:
            lines.append("")
            begins = True
        if begins:
            listed = bool(marker)
        text = text if marker else line[sum(offsets[-1:]) :]
        lines.append(("    " * len(offsets) + text).rstrip())
        if marker:
            offsets.append(indent + len(marker[0]))
        fenced ^= bool(_FENCE.match(text))
    return "\n".join(lines)


def mathml(latex: str, block: bool) -> str:
    """MathML of an equation.

    Args:
      latex: without its dollars.
      block: whether it stands on its own, not in a line of text.

    Raises:
      ValueError: it is no LaTeX, or uses commands that are not known.
    """
    try:
        result = latex2mathml.converter.convert(latex, display="block" if block else "inline")
    except Exception as error:  # of many kinds, none of them the library's own base class
        raise ValueError(f"equation {latex.strip()!r}: {type(error).__name__}") from error
    if unknown := re.search(r"\\[a-zA-Z]+", result):
        raise ValueError(f"equation {latex.strip()!r}: {unknown[0]} is not known")
    return result


class _Loads(html.parser.HTMLParser):
    """Collects the addresses that a browser loads together with a page."""

    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        loaded = [values.get("src"), values.get("data"), values.get("poster")]
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            loaded.append(values.get("href"))
        for candidate in (values.get("srcset") or "").split(","):
            loaded.append(candidate.strip().split(" ")[0])
        self.urls += [url for url in loaded if url]


def external_loads(page: str) -> list[str]:
    """The addresses elsewhere from which an HTML page loads scripts, styles or images."""
    loads = _Loads()
    loads.feed(page)
    return [url for url in loads.urls if re.match(r"(?!data:)(?:[a-z]+:|//)", url, re.IGNORECASE)]


def notebook_page(notebook: str, name: str) -> str:
    """Markdown of a notebook: its text as it is, its code in blocks, and the file at the end.

    Args:
      notebook: JSON, as in an `.ipynb` file of format 4, kept without outputs.
      name: of that file, beside the page.
    """
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    parts.append(f'The notebook itself: <a href="{name}" download>{name}</a>')
    return "\n\n".join(parts)


def _page_of(path: str) -> str:
    return path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path
