"""Hooks of MkDocs beyond `mkdocs.yml`, so that the same Markdown reads well on GitHub too.

- `CONTRIBUTING.md` and `CHANGELOG.md` lie outside `docs/`; here they become pages of the site, and
  so does every notebook. Links to and from them are rewritten to their places on the site.
- Lists are indented as Python-Markdown wants them, by four spaces instead of the marker's width.
- Equations, `$…$` and `$$…$$`, become MathML, which browsers draw without a script.
- The search index also becomes a script. Without it, the scripts of pages that are opened straight
  from the disk would fail at their first line.
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

# Pages of the site whose files lie in the root of the checkout.
_ROOT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=\))")
_ITEM = re.compile(r"(?:[-*+]|\d+[.)]) +")
_FENCE = re.compile(r"```|~~~")
# The output of pymdownx.arithmatex.
_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_files(files, config):
    """Adds the pages that are made from notebooks and from files outside `docs/`."""
    checkout = pathlib.Path(config.config_file_path).parent
    for name in _ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(checkout / name)))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = notebook_page(notebook.content_string, posixpath.basename(notebook.src_uri))
        files.append(File.generated(config, _page_of(notebook.src_uri), content=page))
    return files


def on_page_markdown(markdown, page, config, files):
    """Converts the Markdown of a page from GitHub's form to the site's."""
    if page.parent is None:  # in no section, so that there is nothing to list beside it
        page.meta.setdefault("hide", ["navigation"])
    return indented_lists(site_links(markdown, page.file.src_uri))


def on_page_content(content, page, config, files):
    """Converts equations to MathML, and warns of those that cannot be converted."""

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
    """Warns of everything that the page would load from elsewhere."""
    for url in external_loads(output):
        log.warning("Doc file '%s' would load %s from elsewhere", page.file.src_uri, url)
    return output


@event_priority(-100)  # after the search has written its index
def on_post_build(config):
    """Writes the search index as a script."""
    index = pathlib.Path(config.site_dir, "search", "search_index.json")
    script = f"var __index = {index.read_text(encoding='utf-8')}"
    index.with_suffix(".js").write_text(script, encoding="utf-8")


def site_links(markdown: str, page: str) -> str:
    """Returns Markdown whose relative links hold on the site.

    Args:
      markdown: the text of a page, whose links hold in the checkout, as GitHub follows them.
      page: the path of the page on the site. The file is at the same path below `docs/`, or in the
        root of the checkout for `CONTRIBUTING.md` and `CHANGELOG.md`.

    Returns:
      The text with rewritten links to pages of the site. A link to any other file is left as it is,
      so that MkDocs warns of it.
    """
    here = posixpath.dirname(page)
    folder = "" if page in _ROOT_PAGES else posixpath.join("docs", here)

    def turned(link):
        if re.match(r"[a-z]+:|/", link["path"]):
            return link[0]
        target = posixpath.normpath(posixpath.join(folder, link["path"]))
        if target == "README.md":
            target = "docs/index.md"
        if not target.startswith("docs/") and target not in _ROOT_PAGES:
            return link[0]
        target = _page_of(target.removeprefix("docs/"))
        return posixpath.relpath(target, here or ".") + (link["anchor"] or "")

    return _LINK.sub(turned, markdown)


def indented_lists(markdown: str) -> str:
    """Returns Markdown whose lists Python-Markdown reads as CommonMark does.

    The content of an item is indented by four spaces per level, and a blank line precedes a list.
    Lines that continue the text of an item without any indentation are not supported.
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
    """Converts an equation to MathML.

    Args:
      latex: the equation, without dollar signs.
      block: True for an equation on its own, False for one in a line of text.

    Raises:
      ValueError: the text is not LaTeX, or uses unknown commands.
    """
    try:
        result = latex2mathml.converter.convert(latex, display="block" if block else "inline")
    except Exception as error:  # the library has no base class for its own
        raise ValueError(f"equation {latex.strip()!r}: {type(error).__name__}") from error
    if unknown := re.search(r"\\[a-zA-Z]+", result):
        raise ValueError(f"equation {latex.strip()!r}: {unknown[0]} is not known")
    return result


class _Loads(html.parser.HTMLParser):
    """Collector of the addresses that a browser loads together with a page."""

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
    """Returns the external addresses from which an HTML page loads scripts, styles or images."""
    loads = _Loads()
    loads.feed(page)
    return [url for url in loads.urls if re.match(r"(?!data:)(?:[a-z]+:|//)", url, re.IGNORECASE)]


def notebook_page(notebook: str, name: str) -> str:
    """Returns a notebook as Markdown: text, code in blocks, and a link to the file at the end.

    Args:
      notebook: the JSON of an `.ipynb` file of format 4 without outputs.
      name: the name of that file, which lies beside the page.
    """
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    parts.append(f'The notebook itself: <a href="{name}" download>{name}</a>')
    return "\n\n".join(parts)


def _page_of(path: str) -> str:
    return path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path
