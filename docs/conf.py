"""The documentation site: ``make docs``."""

import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

project = "pyg_relational"
author = "The pyg_relational developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "README.md"]
root_doc = "index"

html_theme = "furo"
html_title = "pyg_relational"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # no script, no request

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
templates_path = ["_templates"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the signature
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes"]


def mathml(self, node: nodes.Element) -> None:
    """A formula as MathML, which browsers draw themselves."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    self.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def unlinked(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to Markdown outside of the site become plain text."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[\w./]+\.md\)", r"\1", source[0])


def setup(app: Sphinx) -> None:
    """Register what is ours."""
    app.connect("source-read", unlinked)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
