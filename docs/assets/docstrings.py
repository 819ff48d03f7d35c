"""Docstrings for the reference: ours without the ``::`` before examples; of the Cython core from the built modules."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import griffe

EMBEDDED = re.compile(r"\A\w+(\(.*\)( -> .*)?|: .*)\n*")
"""The signature that Cython writes before a docstring."""

LITERAL = re.compile(r"^::\n", re.MULTILINE)
"""Marks what follows as literal in reStructuredText; in Markdown the indentation does."""


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Called with each thing that was found in the sources."""
        self._take_from_the_build(obj, loader)
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = LITERAL.sub("", obj.docstring.value)

    def _take_from_the_build(self, obj: griffe.Object, loader: griffe.GriffeLoader) -> None:
        """What the stub of a Cython module does not tell: signatures are the stub's, meanings the module's."""
        if not obj.path.startswith("kithara._core.") or obj.is_module or obj.is_alias:
            return
        module = importlib.import_module(obj.module.path)
        if isinstance(obj, griffe.Function) and obj.name == "__init__" and obj.parent is not None:
            stub = Path(inspect.getfile(module)).parent / f"{obj.module.name}.pyi"
            told = griffe.visit(obj.module.name, filepath=stub, code=stub.read_text())
            obj.parameters = told[f"{obj.parent.name}.__init__"].parameters
            obj.docstring = None
            return
        found: Any = module
        for name in obj.path.removeprefix(f"{module.__name__}.").split("."):
            found = getattr(found, name, None)
        text = EMBEDDED.sub("", inspect.getdoc(found) or "").strip()
        parser, options = loader.docstring_parser, loader.docstring_options
        obj.docstring = griffe.Docstring(text, parent=obj, parser=parser, parser_options=options) if text else None
