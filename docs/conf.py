"""How the documentation is built: ``sphinx-build -W -n -b html docs docs/_build/html``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import TypeAliasForwardRef

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ringme_async import __version__  # noqa: E402 - the package of this checkout, not another

project = "ringme-async"
author = "the ringme-async maintainers"
copyright = "the ringme-async maintainers"  # noqa: A001 - the name that Sphinx asks for
release = version = __version__.partition("+")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = project if version == "0" else f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["output.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "default"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nitpicky = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_type_aliases = {
    name: f"ringme_async.{name}" for name in ("Event", "JSON", "JSONLike", "Outcome", "Who")
}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

DOORS = (
    "ringme_async",
    "ringme_async.mirror",
    "ringme_async.observers",
    "ringme_async.observers.otel",
    "ringme_async.testing",
    "ringme_async.testing.faults",
)

# Types of ours that a signature shows and no user needs to name.
SHOWN_ONLY = {
    *(
        "Connection",
        "FrozenJSON",
        "FrozenValue",
        "JSONLike",
        "JournalSession",
        "RingMeOptions",
        "Unset",
    ),
    *("V", "V_co", "V_contra", "W"),
}


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.Node | None:
    """Lead a private module's ``Client`` to ``ringme_async.Client``, where it is described."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    name = target.rpartition(".")[2]
    domain = env.domains.python_domain
    for door in DOORS:
        if target.startswith("ringme_async.testing.faults.") and door != target.rpartition(".")[0]:
            continue
        found = domain.objects.get(f"{door}.{name}")
        if found is not None:
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", f"{door}.{name}", node, contnode
            )
    if name in SHOWN_ONLY or not target.startswith("ringme_async."):
        return contnode
    return None


def shorten(
    _app: Sphinx,
    _what: str,
    _name: str,
    _documented: object,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str, str | None] | None:
    """Show defaults as one would write them: functions and objects without their addresses."""
    if signature is None:
        return None
    signature = re.sub(r"mappingproxy\(\{\}\)|NOTHING", "{}", signature)
    signature = re.sub(r"<[\w.]*?(\w+) object(?: at 0x\w+)?>", r"\1()", signature)
    return re.sub(r"<(?:built-in )?(?:function|method) _?(\w+)[^>]*>", r"\1", signature), returned


def leave_out_arguments(
    _app: Sphinx, _what: str, name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Keep silent about what only the SDK hands over: nobody else makes a run."""
    if name == "ringme_async.BulkRun":
        begin = lines.index("Args:")
        del lines[begin : lines.index("", begin) + 1]


def name_language(
    _app: Sphinx, page: str, _template: str, context: dict[str, object], _doctree: object
) -> None:
    """Say of a page in Russian that it is, for those who have it read aloud or translated."""
    if page.startswith("ru/"):
        context["language"] = "ru"


def setup(app: Sphinx) -> None:
    """Tell Sphinx of what is ours here."""
    # An alias for a type is shown by its name, inside of other types as well.
    TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # type: ignore[method-assign]
    app.connect("missing-reference", find_public_name)
    app.connect("autodoc-process-signature", shorten)
    # Before napoleon has turned the sections into fields.
    app.connect("autodoc-process-docstring", leave_out_arguments, priority=400)
    app.connect("html-page-context", name_language)
