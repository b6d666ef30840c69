"""Settings of Sphinx for the site; `docs/make_site.py` arranges the pages and builds it."""

import hpo

project = "hpo"
author = "the authors of hpo"
project_copyright = "the authors of hpo, Apache-2.0"
release = version = hpo.__version__
root_doc = "README"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["**/node_modules", "studies/*.py"]

# Pages are Markdown as GitHub shows it: plain links, and headings with GitHub's anchors.
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]

# Docstrings are numpydoc's; a name in single backticks leads to its entry, where it has one.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # a type is text: `estimator` is no attribute of that name
napoleon_preprocess_types = False
napoleon_use_ivar = True  # an attribute may be a property too
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = True
autodoc_default_options = {  # scikit-learn makes these of each estimator
    "exclude-members": ", ".join(
        f"set_{method}_request" for method in ("fit", "partial_fit", "score", "predict")
    ),
}
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = f"hpo {release}"
html_static_path = ["_static"]
html_css_files = ["hpo.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"README": []}
html_theme_options = {
    "show_nav_level": 1,
    "navigation_depth": 2,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_exclude = ".linenos, .gp, .go"
