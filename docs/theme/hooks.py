"""What the site needs beyond its plugins: mathematics and links that work offline.

Formulas become MathML when the site is built, with a font that has the metrics for it:
no script typesets them. Notebooks lose the scripts that would be loaded from elsewhere,
and their links are made to point at pages.
"""

import html
import re
from importlib import resources
from pathlib import Path

import jax
from latex2mathml.converter import convert
from mkdocs.structure.files import File

from thalweg.explore import page as explorer

_ROOT = Path(__file__).parents[2]
_MATHEMATICS = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">(?P<tex>.*?)</(?P=tag)>', re.DOTALL
)
_IN_NOTEBOOK = re.compile(
    r"(?P<code><(?P<tag>pre|code|script|style)\b.*?</(?P=tag)>)"
    r"|\$\$(?P<display>[^$]+)\$\$|(?<![\\\w])\$(?P<inline>[^$<]+?)\$",
    re.DOTALL,
)
_FOREIGN = re.compile(
    r"<script(?=[^>]*(?:mathjax|mermaid|type=\"module\")).*?</script>",
    re.DOTALL,
)
_SIGN = '<mo form="prefix">&#x02212;</mo>'
# What a row of operators without structure gets wrong: a sign that begins a term is no
# difference, bars and slashes stand close, functions stand apart from arguments.
_SPACING = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r'<mo stretchy="false">&#x0007C;</mo>',
            '<mi mathvariant="normal">|</mi>',
        ),
        (
            r"(<mrow>|(?<!&#x00029;)(?<![)\]])</mo>)<mo>&#x02212;</mo>",
            rf"\1{_SIGN}",
        ),
        (r"<mo>(/|&#x0002F;)</mo>", '<mo lspace="0" rspace="0">/</mo>'),
        (
            r"(<mi>(?:log|exp)</mi>)(?!<mo)",
            r'\1<mspace width="0.17em"></mspace>',
        ),
        (r"<msub><mo>lim</mo>(.*?)</msub>", r"<munder><mo>lim</mo>\1</munder>"),
    )
]
EXPLORER = "explorer-page.html"
_OF_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def mathml(tex, *, display=False):
    """Return a formula in TeX as MathML."""
    found = convert(
        html.unescape(tex.strip()), display="block" if display else "inline"
    )
    for pattern, replacement in _SPACING:
        found = pattern.sub(replacement, found)
    return found


def on_files(files, config):
    """Add pages of the root of the repository, the explorer's, and a font for mathematics."""
    for source, target in _OF_ROOT.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        for name, to in _OF_ROOT.items():
            text = text.replace(f"({name})", f"({to})")
        files.append(
            File.generated(config, target, content=text.replace("(docs/", "("))
        )
    font = resources.files("ziamath.fonts").joinpath("STIXTwoMath-Regular.ttf")
    files.append(
        File.generated(config, f"theme/{font.name}", content=font.read_bytes())
    )
    jax.config.update("jax_enable_x64", True)
    files.append(File.generated(config, EXPLORER, content=explorer.page()))
    return files


def on_page_content(content, page, config, files):
    """Typeset mathematics; have notebooks load nothing from elsewhere."""
    content = _MATHEMATICS.sub(_of_markdown, content)
    if page.file.src_uri.endswith(".py"):
        content = _IN_NOTEBOOK.sub(_of_notebook, _FOREIGN.sub("", content))
        content = re.sub(
            r'(href="(?!\w+:)[^"#]+)\.(?:md|py)(?=["#])', r"\1.html", content
        )
    return content


def _of_markdown(found):
    tex = found["tex"].strip()
    return mathml(tex[2:-2], display=found["tag"] == "div")


def _of_notebook(found):
    if found["code"]:
        return found["code"]
    return mathml(
        found["display"] or found["inline"], display=bool(found["display"])
    )
