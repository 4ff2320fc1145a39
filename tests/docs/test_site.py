"""The documentation site: what its hooks make of Markdown, and that it builds without a warning."""

import collections
import html
import importlib
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.dashboard.chromium import browser

pytest.importorskip("mkdocs", reason="needs the extra docs: pip install -e '.[docs]'")

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("experiments/*.md"), *CHECKOUT.glob("*.md")])
# The command has guides and help texts in place of a reference.
ROOMS = sorted({path.parent.name for path in CHECKOUT.glob("rnnseg/*/__init__.py")} - {"cli"})


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def to_html():
    """Python-Markdown as the site uses it, without the plugins."""
    import markdown
    from mkdocs.config import load_config

    config = load_config(str(CHECKOUT / "mkdocs.yml"))
    return lambda text: markdown.markdown(
        text, extensions=config.markdown_extensions, extension_configs=config.mdx_configs
    )


# --- what the hooks do ---


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("budgets.md", "experiments/video.md#cuts", "experiments/video.md#cuts"),
        ("budgets.md", "../README.md", "index.md"),
        ("budgets.md", "../CONTRIBUTING.md#code", "CONTRIBUTING.md#code"),
        ("budgets.md", "data.md#cityscapes", "data.md#cityscapes"),
        ("budgets.md", "notebooks/one.ipynb", "notebooks/one.md"),
        ("budgets.md", "#here", "#here"),
        ("budgets.md", "https://example.org/docs/x.md", "https://example.org/docs/x.md"),
        ("budgets.md", "../rnnseg/base.py", "../rnnseg/base.py"),
        ("notebooks/one.md", "../../CHANGELOG.md", "../CHANGELOG.md"),
        ("notebooks/one.md", "../data.md", "../data.md"),
        ("experiments/video.md", "../budgets.md#x", "../budgets.md#x"),
        ("experiments/video.md", "../../README.md", "../index.md"),
        ("experiments/video.md", "curve.png", "curve.png"),
        ("CONTRIBUTING.md", "docs/data.md#x", "data.md#x"),
        ("CONTRIBUTING.md", "CHANGELOG.md", "CHANGELOG.md"),
        ("CONTRIBUTING.md", "rnnseg/base.py", "rnnseg/base.py"),
    ],
)
def test_links_are_turned_to_where_pages_lie(hooks, page, link, expected):
    assert hooks.site_links(f"See [it]({link}), too.", page) == f"See [it]({expected}), too."


def test_equations_become_mathml(hooks, to_html):
    text = "So $a_t < 1$, `$HOME`, $5 and 6 $.\n\n$$\nc' = \\sigma(f) \\odot c\n$$\n"
    content = hooks.on_page_content(to_html(text), page=None, config=None, files=None)
    inline, block = re.findall(r"<math.*?</math>", content, re.DOTALL)
    assert 'display="inline"' in inline and "<msub><mi>a</mi><mi>t</mi></msub>" in inline
    assert 'display="block"' in block and "<mi>&#x003C3;</mi>" in block and "&#x02299;" in block
    assert "<code>$HOME</code>" in content and "$5 and 6 $" in content
    assert "arithmatex" not in content


@pytest.mark.parametrize("latex", [r"\arg\max x", r"\left( x", r"\nosuchcommand"])
def test_an_equation_that_cannot_be_drawn_is_an_error(hooks, latex):
    with pytest.raises(ValueError, match="equation"):
        hooks.mathml(latex, block=True)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_page_has_the_same_parts_on_github_and_on_the_site(hooks, to_html, path):
    """GitHub reads CommonMark, for which markdown-it stands; the site goes through its hooks."""
    markdown_it = pytest.importorskip("markdown_it")
    text = path.read_text(encoding="utf-8")
    # Equations are neither's business, and underscores in them no emphasis.
    plain = re.sub(r"\$\$.*?\$\$|(?<![`\w])\$[^$`\n]+\$", "equation", text, flags=re.DOTALL)
    github = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(plain)

    def parts(content):
        found = re.findall(r"<(h[1-6]|[ou]l|li|pre|t[hdr]|em|strong|img|blockquote)\b", content)
        return collections.Counter(found)

    assert parts(to_html(hooks.indented_lists(plain))) == parts(github)


def test_lists_keep_code_and_paragraphs_of_their_items(hooks, to_html):
    items = "- one\n\n      code\n\n  more\n- two\n  - inner\n"
    text = f"Text\n{items}\n```\n- no item\n```\n\n    - nor here\n"
    content = re.sub(r"<(?!/?(?:ul|li|pre)\b)[^>]*>|\n", "", to_html(hooks.indented_lists(text)))
    content = re.sub(r" class=\S+|\s", "", content)
    assert "Text<ul><li>one<pre>code</pre>more</li>" in content.replace("</div>", "")
    assert "<li>two<ul><li>inner</li></ul></li></ul>" in content
    assert content.count("<li>") == 3 and "<pre>-noitem</pre>" in content


def test_external_loads_are_found_and_links_are_not(hooks):
    page = """<script src="https://cdn.example/x.js"></script><img src=//cdn.example/x.png>
        <link rel=stylesheet href="http://cdn.example/x.css"><img srcset="HTTPS://cdn.example/y 2x">
        <a href="https://example.org">a link</a><link rel="canonical" href="https://example.org">
        <img src="x.png"><img src="data:image/png;base64,AAAA"><script src="../x.js"></script>"""
    assert sorted(re.sub(r".*/", "", url) for url in hooks.external_loads(page)) == (
        ["x.css", "x.js", "x.png", "y"]
    )


def test_a_notebook_becomes_a_page_that_offers_it(hooks):
    text = {"cell_type": "markdown", "source": ["# Title\n", "[data](../data.md)"]}
    code = {"cell_type": "code", "source": ["a = 1\n", "a"], "outputs": [], "metadata": {}}
    page = hooks.notebook_page(json.dumps({"cells": [text, code]}), "one.ipynb")
    assert page.startswith("# Title\n[data](../data.md)\n\n```python\na = 1\na\n```\n\n")
    assert '<a href="one.ipynb" download>' in page


# --- the site as a whole ---


def build(checkout, site):
    """Runs MkDocs where importing TensorFlow ends the build."""
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"from mkdocs.__main__ import cli; cli(['build', '--site-dir', {str(site)!r}])"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("docs") / "site"
    result = build(CHECKOUT, site)
    assert result.returncode == 0, result.stderr
    return site


def test_site_has_all_pages_and_their_images(site):
    pages = ("index", "how_it_works", "experiments/index", "notebooks/first_curve", "CHANGELOG")
    for name in pages:
        assert (site / f"{name}.html").is_file()
    assert (site / "experiments" / "camvid_comparison.png").is_file()
    assert not (site / "hooks.py").exists()
    assert "<math" in (site / "how_it_works.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference(site):
    """The headings of the API reference, by the full name of what they document."""
    pages = "".join(path.read_text(encoding="utf-8") for path in site.glob("api/*.html"))
    found = re.findall(r'<h\d id="(rnnseg[\w.]*)"[^>]*>(.*?)</h\d>', pages, re.DOTALL)
    return {name: html.unescape(re.sub(r"<[^>]*>|\s", "", heading)) for name, heading in found}


@pytest.mark.parametrize("room", ["rnnseg", *(f"rnnseg.{name}" for name in ROOMS)])
def test_reference_has_the_public_names_of_every_room(reference, room):
    names = getattr(importlib.import_module(room), "_NAMES", {})
    for name, home in names.items():
        assert f"{room}.{home}.{name}" in reference
        if room == "rnnseg":
            assert f"rnnseg.{name}" in reference[f"rnnseg.{home}.{name}"]
    assert any(name.startswith(f"{room}.") for name in reference)


def test_reference_has_methods(reference):
    assert "rnnseg.runtime.segmenter.Segmenter.__call__" in reference
    assert "rnnseg.models.recurrent.RecurrentSegmenter.refine" in reference


def test_site_loads_nothing_from_elsewhere(site, hooks):
    pages = sorted(site.glob("**/*.html"))
    assert len(pages) > 20
    for page in pages:
        assert hooks.external_loads(page.read_text(encoding="utf-8")) == [], page
    for sheet in site.glob("**/*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", text), sheet


@pytest.fixture(scope="module")
def on_disk(site, tmp_path_factory):
    """A browser at the page of equations, opened without a server, and what it emulates."""
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        driver.get((site / "how_it_works.html").as_uri())
        yield driver


def test_colours_follow_the_system_and_can_be_chosen(on_disk):
    def prefer(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        on_disk.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        on_disk.get_screenshot_as_png()  # a page that is not drawn learns nothing of it

    def shown():
        return on_disk.execute_script("return document.body.dataset.mdColorScheme")

    for scheme, expected in (("dark", "slate"), ("light", "default"), ("dark", "slate")):
        prefer(scheme)
        assert shown() == expected
    switch = "document.querySelector('[data-md-component=palette] label:not([hidden])').click()"
    for expected in ("default", "slate", "slate"):  # light, dark, the system's
        on_disk.execute_script(switch)
        assert shown() == expected
    prefer("light")
    assert shown() == "default"


def test_indices_are_below_the_line(on_disk):
    fonts = re.search(r"math \{\s*font-family:(.*?);", (DOCS / "site.css").read_text(), re.DOTALL)
    listed = shutil.which("fc-list") and subprocess.check_output(["fc-list"], text=True)
    if not any(name in (listed or "") for name in re.findall('"(.+?)"', fonts[1])):
        pytest.skip("needs a font with mathematics: apt-get install fonts-dejavu-extra")
    bottoms = on_disk.execute_script(
        """
        const bottom = (each) => each.getBoundingClientRect().bottom;
        return [...document.querySelectorAll('.equation msub')]
          .map(({children: [base, index]}) => [bottom(base), bottom(index)]);
        """
    )
    assert len(bottoms) > 5
    for base, index in bottoms:
        assert index > base + 1


MISTAKES = {
    "docs/budgets.md": {
        "[a](nowhere.md)": "'nowhere.md', but the target is not found",
        "[b](data.md#nowhere)": "'data.md#nowhere', but the doc 'data.md' does not contain",
        "[c](experiments/video.md#nowhere)": "'experiments/video.md#nowhere', but",
        "[d](../rnnseg/base.py)": "'../rnnseg/base.py', but the target",
        "[e](/data.md)": "absolute link '/data.md'",
        "![f](https://example.org/f.png)": "would load https://example.org/f.png",
        "$\\nosuchcommand$": "\\nosuchcommand is not known",
    },
    "CONTRIBUTING.md": {"[g](docs/nowhere.md)": "'nowhere.md', but"},
    "rnnseg/evaluation/metrics.py": {
        'def h(i):\n    """H.\n\n    Args:\n      j: no such.\n    """\n': "Parameter 'j' does not"
    },
}


def test_every_mistake_is_told_and_ends_the_build(tmp_path):
    for name in ("docs", "rnnseg"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    for name in ("mkdocs.yml", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(CHECKOUT / name, tmp_path)
    for name, mistakes in MISTAKES.items():
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("\n\n" + "\n\n".join(mistakes))
    result = build(tmp_path, tmp_path / "site")
    assert result.returncode == 1
    complaints = [each for mistakes in MISTAKES.values() for each in mistakes.values()]
    for complaint in complaints:
        assert complaint in result.stderr
    assert f"Aborted with {len(complaints)} warnings" in result.stdout
