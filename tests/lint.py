"""The rules that neither compiler nor clang-tidy checks (called by lint.sh).

Text rules on purpose: clang-format has brought the source into one shape, in which a function
starts and ends with a brace in the first column and indentation is nesting.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ("common", "ingress", "worker", "deploy")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 600
MAX_NESTING = 3

BANNED = re.compile(
    r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|atoi|strtok|alloca|usleep|sleep|signal)\s*\("
)
THIRD_PARTY = {
    "uv": "common/loop",
    "microhttpd": "common/http",
    "curl": "common/fetch",
    "json-c": "common/json",
    "openssl": "common/crypto",
    "hiredis": "common/store",
    "librdkafka": "common/bus",
}
INCLUDE = re.compile(r'\s*#\s*include\s*[<"](%s)[./]' % "|".join(map(re.escape, THIRD_PARTY)))
CONDITIONAL = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else)\b")
CONTROL = re.compile(r"( *)(?:\} )?(if|for|while|switch|do|else)\b")
CONDITION = re.compile(r"(?<!\w)(?:if|while)\s*\(")
ASSIGNMENT = re.compile(r"(?<![=!<>])=(?!=)|<<=|>>=")
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)


def without_comments_and_literals(text):
    """Same lines, same columns; include lines keep their names."""

    def blank(match):
        line_start = text.rfind("\n", 0, match.start()) + 1
        if text[line_start : match.start()].lstrip().startswith("#"):
            if not match.group().startswith("/"):
                return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return TOKEN.sub(blank, text)


def closing(code, at):
    """Index of the parenthesis that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            return i
    return len(code)


def find_in_functions(lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start:
            length = number - start + 1
            if length > MAX_FUNCTION_LINES:
                yield start, f"function of {length} lines, at most {MAX_FUNCTION_LINES}"
            start = None
        if not start:
            continue
        if CONDITIONAL.match(line):
            yield number, "conditional compilation inside a function"
        control = CONTROL.match(line)
        if control and len(control.group(1)) // 4 > MAX_NESTING:
            yield number, f"nested deeper than {MAX_NESTING}"


def find_in_file(path):
    text = path.read_text(encoding="utf-8")
    code = without_comments_and_literals(text)
    lines = code.split("\n")
    name = path.relative_to(ROOT)
    is_program = name.parts[0] in PROGRAMS
    if text.count("\n") > MAX_FILE_LINES:
        yield text.count("\n"), f"file longer than {MAX_FILE_LINES} lines"
    yield from find_in_functions(lines)
    for match in CONDITION.finditer(code):
        end = closing(code, match.end() - 1)
        if ASSIGNMENT.search(code, match.end(), end):
            yield code.count("\n", 0, match.start()) + 1, "assignment in a condition"
    if not is_program:
        return
    for number, line in enumerate(lines, 1):
        for match in BANNED.finditer(line):
            yield number, f"banned call: {match.group(1)}"
        include = INCLUDE.match(line)
        if include and name.parent.as_posix() != THIRD_PARTY[include.group(1)]:
            yield number, f"{include.group(1)} belongs to {THIRD_PARTY[include.group(1)]}"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--tidy-files":
        database = pathlib.Path(sys.argv[2]) / "compile_commands.json"
        files = {entry["file"] for entry in json.loads(database.read_text())}
        build = database.resolve().parent
        for file in sorted(files):
            if ROOT in pathlib.Path(file).parents and build not in pathlib.Path(file).parents:
                print(file)
        return 0

    found = 0
    for top in (*PROGRAMS, "tests"):
        for path in sorted((ROOT / top).rglob("*.[ch]")):
            for number, finding in sorted(find_in_file(path)):
                print(f"{path.relative_to(ROOT)}:{number}: {finding}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
