"""What scripts/python_api.py writes with: docstrings as Markdown, and signatures as users read them."""
from __future__ import annotations

import inspect
import re
import textwrap

import griffe

WIDTH = 120
SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")


def tidy(annotation: object) -> str:
    """An annotation or default as a user writes it: without the package's own modules."""
    return re.sub(r"\b(?:ipcq\.)?_[a-z_]+\.(?=[A-Z])|\bipcq\.(?=[A-Z])", "", str(annotation))


def prose(text: str, indent: str = "") -> str:
    """A docstring's text as Markdown, filled; examples, which are indented, stay as they are."""
    parts = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        part = re.sub(r"``([^`]+)``", r"`\1`", part)
        if part.startswith("    "):
            parts.append("```python\n" + textwrap.dedent(part) + "\n```")
        else:
            parts.append(textwrap.fill(" ".join(part.split()), WIDTH, initial_indent="", subsequent_indent=indent,
                                       break_long_words=False, break_on_hyphens=False))
    return "\n\n".join(parts).replace("\n```\n\n```python\n", "\n\n")


def bullet(text: str) -> str:
    return prose("- " + text, "  ")


class Docstring:
    """A docstring in its parts: words, and sections of entries (name, words)."""

    def __init__(self, text: str) -> None:
        self.words = ""
        self.sections: dict[str, list[tuple[str, str]]] = {}
        section, entries, lines = "", [], []
        for line in [*inspect.cleandoc(text).split("\n"), "Returns:"]:
            if line.rstrip(":") in SECTIONS and line.endswith(":"):
                self._add(section, lines, entries)
                section, entries, lines = line[:-1], [], []
            elif section and line and not line.startswith(" "):  # words again, behind a section
                self._add(section, lines, entries)
                section, entries, lines = "", [], ["", line]
            else:
                lines.append(line)

    def _add(self, section: str, lines: list[str], entries: list[tuple[str, str]]) -> None:
        if not section:
            self.words = (self.words + "\n" + "\n".join(lines)).strip("\n")
            return
        for line in textwrap.dedent("\n".join(lines)).split("\n"):
            found = re.match(r"([\w*]+(?:, [\w ()]+)*): (.*)", line)
            if found:
                entries.append((found[1], found[2]))
            elif line.startswith(" ") and entries:
                entries[-1] = (entries[-1][0], entries[-1][1] + " " + line.strip())
            elif line.strip():
                entries.append(("", line.strip()))
        self.sections.setdefault(section, []).extend(entries)

    def first_sentence(self) -> str:
        paragraph = " ".join(self.words.split("\n\n")[0].split())
        found = re.match(r".*?[.:](?= |$)", paragraph)
        return re.sub(r"``([^`]+)``", r"`\1`", (found[0] if found else paragraph).rstrip(":."))

    def markdown(self, *, without: tuple[str, ...] = ()) -> str:
        parts = [prose(self.words)] if self.words else []
        for title, entries in self.sections.items():
            if entries and title not in without:
                lines = [bullet(f"{self._names(title, name)}{words}") for name, words in entries]
                parts += [f"{title}:\n\n" + "\n".join(lines)]
        return "\n\n".join(parts)

    @staticmethod
    def _names(title: str, name: str) -> str:
        names = name.split(", ") if title == "Raises" else [name]
        return ", ".join(f"`{one}`" if " " not in one else one for one in names) + ": " if name else ""


def target(thing: griffe.Object | griffe.Alias) -> griffe.Object:
    return thing.final_target if thing.is_alias else thing


def docstring(thing: griffe.Object) -> Docstring | None:
    return Docstring(thing.docstring.value) if thing.docstring and thing.docstring.value.strip() else None


def parameters(function: griffe.Function, *, method: bool) -> list[str]:
    """As they stand between the parentheses, without self."""
    found, star, slash = [], False, False
    for parameter in list(function.parameters)[1 if method else 0:]:
        kind = parameter.kind
        if slash and kind is not griffe.ParameterKind.positional_only:
            found.append("/")
        slash = kind is griffe.ParameterKind.positional_only
        star = star or kind is griffe.ParameterKind.var_positional
        if kind is griffe.ParameterKind.keyword_only and not star:
            found.append("*")
            star = True
        prefix = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        text = prefix + parameter.name + (f": {tidy(parameter.annotation)}" if parameter.annotation else "")
        if parameter.default is not None and not prefix:
            text += f" = {tidy(parameter.default)}" if parameter.annotation else f"={tidy(parameter.default)}"
        found.append(text)
    return [*found, "/"] if slash else found


def signature(function: griffe.Function, name: str, *, method: bool) -> str:
    static = "staticmethod" in function.labels
    arguments = parameters(function, method=method and not static)
    begin = ("async " if "async" in function.labels else "") + name
    end = f" -> {tidy(function.returns)}" if function.returns and str(function.returns) != "None" else ""
    line = f"{begin}({', '.join(arguments)}){end}"
    if len(line) > 100:
        line = f"{begin}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){end}"
        line = line.replace("    /,\n)", "    /\n)")
    return line
