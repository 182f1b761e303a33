#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Turns the ```cpp blocks of README.md and docs/ into programs, and runs one of them.

usage: snippets.py generate SOURCE_DIR OUTPUT_DIR   writes the programs and OUTPUT_DIR/snippets.cmake
       snippets.py run EXPECTED PROGRAM [ARG...]    runs a program and compares what it prints

A block with `int main` is a program as it stands. Any other block is a fragment: its declarations go
into a namespace, its statements into a function there, and all fragments of a document that share a
preamble become one program, which is told by its argument which fragment to run. #line directives
make the compiler's complaints name the document. A comment just before a block changes this:

    <!-- snippet: skip REASON -->      not compiled; counted as skipped
    <!-- snippet: preamble NAME -->    NAME.hpp instead of preamble.hpp
    <!-- snippet: output -->           must print what the next ```text block shows

In that block main.cpp:N is line N of a program, as its reader sees it who has pasted it into a main.cpp.
"""
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass, field

FENCE = re.compile(r"^\s*```\s*([\w+-]*)\s*$")
DIRECTIVE = re.compile(r"^\s*<!-- snippet: (\w+)\s*(.*?)\s*-->\s*$")
DECLARATION = re.compile(r"(struct|class|enum|union|template|concept|namespace|using|typedef|inline|extern)\b")
CONTROL = re.compile(r"(if|else|for|while|do|switch|try|return|co_return)\b|\{")
CONTINUES = re.compile(r"[;,.)(\[?]|else\b|catch\b|while\b")
TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/                            # comments
      | R"(?P<delim>[^()\s\\]*)\(.*?\)(?P=delim)"       # a raw string
      | "(?:\\.|[^"\\])*" | (?<!\w)'(?:\\.|[^'\\])*'    # a string, a character; 1'000 is neither
      | [{}()\[\];]""",
    re.VERBOSE | re.DOTALL,
)
SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)


@dataclass
class Block:
    """A fenced ```cpp block: where its code starts, its text, and what the comments before it ask."""

    line: int
    code: str
    directives: dict
    output: str = ""

    @property
    def is_program(self):
        return re.search(r"^\s*(int|auto) main\(", self.code, re.MULTILINE) is not None


@dataclass
class Fragment:
    """A block taken apart: what belongs at file scope, at namespace scope, and in a function."""

    block: Block
    includes: list = field(default_factory=list)
    declarations: list = field(default_factory=list)  # of (line, text)
    statements: list = field(default_factory=list)


def blocks_of(text):
    """The cpp blocks of a document, in order."""
    blocks, directives, wants_output = [], {}, None
    language, body, start = None, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if language is None:
            if fence:
                language, body, start = fence[1] or "text", [], number + 1
            elif directive := DIRECTIVE.match(line):
                directives[directive[1]] = directive[2]
            elif line.strip():
                directives = {}
        elif fence:
            code = "\n".join(body) + "\n"
            if language == "cpp":
                blocks.append(Block(start, code, directives))
                wants_output = blocks[-1] if "output" in directives else None
            elif language == "text" and wants_output:
                wants_output.output, wants_output = code, None
            language, directives = None, {}
        else:
            body.append(line)
    return blocks


def chunks_of(code):
    """Splits code into its outermost declarations and statements, as (offset, text)."""
    depth, start = 0, SPACE.match(code).end()
    for token in TOKEN.finditer(code):
        mark = token[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        after = SPACE.match(code, token.end()).end()
        ends = mark == ";" or mark == "}" and not CONTINUES.match(code, after)
        if depth == 0 and ends and token.end() > start:
            yield start, code[start:token.end()]
            start = after
    if code[start:].strip():
        yield start, code[start:]


def is_declaration(chunk):
    """Whether a chunk has to stand outside of functions: a type, a template, a function's body."""
    if DECLARATION.match(chunk):
        return True
    head = chunk.partition("{")[0]
    return chunk.endswith("}") and not CONTROL.match(chunk) and "(" in head and "=" not in head


def take_apart(block):
    fragment = Fragment(block)
    lines = block.code.split("\n")
    for index, line in enumerate(lines):
        if line.startswith("#include"):
            fragment.includes.append(line)
            lines[index] = ""
    code = "\n".join(lines)
    for offset, chunk in chunks_of(code):
        where = fragment.declarations if is_declaration(chunk) else fragment.statements
        where.append((block.line + code.count("\n", 0, offset), chunk))
    return fragment


def placed(chunks, path):
    return "\n".join(f'#line {line} "{path}"\n{text}' for line, text in chunks)


def fragment_source(fragment, path):
    """The namespace of one fragment, with its `int run()`."""
    body = placed(fragment.statements, path)
    if any(re.search(r"\bco_(await|return|yield)\b", text) for _, text in fragment.statements):
        run = f"errand::task<void> body() {{\n{body}\nco_return;\n}}\nint run() {{ body().get(); return 0; }}"
    else:
        run = f"int run() {{\n{body}\nreturn 0;\n}}"
    name = f"line_{fragment.block.line}"
    return f"namespace {name} {{\n{placed(fragment.declarations, path)}\n{run}\n}}  // namespace {name}\n"


def program_source(fragments, preamble, path):
    """One program of all fragments; its argument is the line of the one to run."""
    includes = sorted({line for fragment in fragments for line in fragment.includes})
    cases = [f'    if (which == "{f.block.line}") return line_{f.block.line}::run();' for f in fragments]
    return "\n".join([
        f'#include "{preamble}.hpp"', *includes, "#include <string_view>", "",
        *(fragment_source(fragment, path) for fragment in fragments),
        "int main(int argc, char** argv) {",
        '    std::string_view which = argc > 1 ? argv[1] : "";',
        *cases,
        "    return 2;",
        "}", "",
    ])


def write_if_changed(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def generate(source_dir, output_dir):
    source_dir, output_dir = pathlib.Path(source_dir), pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    documents = [source_dir / "README.md", *sorted((source_dir / "docs").rglob("*.md"))]
    manifest = []

    def add_program(name, text):
        write_if_changed(output_dir / f"{name}.cpp", text)
        manifest.append(f"add_snippet_program({name})")

    def add_run(name, program, block, argument=""):
        expected = ""
        if "output" in block.directives:
            expected = f"{name}.expected"
            here = lambda line: f"{relative}:{block.line - 1 + int(line[1])}"
            write_if_changed(output_dir / expected, re.sub(r"\bmain\.cpp:(\d+)", here, block.output))
        manifest.append(f'add_snippet_run({name} {program} "{argument}" "{expected}")')

    for document in filter(pathlib.Path.exists, documents):
        relative = document.relative_to(source_dir)
        stem = ".".join(relative.with_suffix("").parts)
        stem = stem if stem.startswith("docs.") else f"docs.{stem}"
        by_preamble = {}
        for block in blocks_of(document.read_text(encoding="utf-8")):
            name = f"{stem}.line_{block.line}"
            if "skip" in block.directives:
                manifest.append(f'add_snippet_skip({name} [==[{block.directives["skip"]}]==])')
            elif block.is_program:
                add_program(name, f'#line {block.line} "{relative}"\n{block.code}')
                add_run(name, name, block)
            else:
                preamble = block.directives.get("preamble", "preamble")
                by_preamble.setdefault(preamble, []).append(take_apart(block))
        for preamble, fragments in by_preamble.items():
            program = stem if preamble == "preamble" else f"{stem}.{preamble}"
            add_program(program, program_source(fragments, preamble, relative))
            for fragment in fragments:
                line = fragment.block.line
                add_run(f"{stem}.line_{line}", program, fragment.block, line)
    write_if_changed(output_dir / "snippets.cmake", "\n".join(manifest) + "\n")


def run(expected, *command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    wanted = pathlib.Path(expected).read_text(encoding="utf-8")
    if done.stdout != wanted:
        print(f"--- but the document says:\n{wanted}", end="")
    return done.returncode or done.stdout != wanted


if __name__ == "__main__":
    verbs = {"generate": generate, "run": run}
    sys.exit(verbs[sys.argv[1]](*sys.argv[2:]))
