"""Random cases for the chat template language: conversations for whole templates, and snippets by a grammar.

    python3 generate.py SEED COUNT [TEMPLATE.jinja ...] > cases.json

A case is {"name", "template", "input"}; the input is a conversation as JSON *text*, since how a number is spelled
matters. No case needs more than a few milliseconds or kilobytes. Needs nothing but Python 3.9.
"""

import json
import os
import random
import sys

from snippets import Snippets

TEXTS = [
    "", " ", "abc", "Hello World", "they're", "  padded  \n", "a\r\nb\rc\n", "tab\there", "nul\x00 esc\x1b[31m del\x7f",
    "\u00c4\u00d6\u00fc \u00df", "\u01c6 \u0130stanbul \ufb01 \u0149", "e\u0301a\u0308", "\u65e5\u672c\u8a9e",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001d54f", "\"quoted\" 'single' `back`", "'", '"',
    "back\\slash \\n \\u0041", "<b>&amp;</b> <i x='1'>", "%s %d %%", "{0} {x} {{ y }} {% z %}", "\u2028\u2029\x85|\x0b\x0c",
    "\u00a0nbsp\u2003em\u3000\ufeff", "\x1c\x1d\x1e\x1f", "123", "-7", "1e5", " 42 ", "\u0661\u0662\u0663", "\u00bd \u00b2",
    "CamelCase snake_case kebab-case", "one two  three\nfour", "a,b,,c", "a.b.c", "ab" * 30, "\u03a3\u03b1\u03c2 \u039f\u03a3",
    "zebra Apple apple \u00e9clair", "<|turn>user", "<turn|>", "<|\"|>", "<bos>", "<|channel>thought\nx<channel|>y", "\U000f0000",
]
NUMBERS = [
    "0", "-0", "1", "-1", "7", "42", "255", "-128", "1000000", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "-9223372036854775809", "123456789012345678901234567890",
    "-100000000000000000000000000000000000001", "0.0", "-0.0", "1.0", "0.1", "1.5", "-2.5", "3.14159", "1e5", "1E5", "1e+5", "100000.0",
    "1e15", "1e16", "1e17", "123456789012345680.0", "1e22", "1e23", "1e-4", "0.0001", "1e-5", "1.5e-05", "0.30000000000000004", "1e100", "5e-324",
    "1.7976931348623157e308", "1E400", "-1e999", "2.0", "1.10", "12345678.9", "0.5", "2.675",
]
KEYS = ["a", "b", "name", "Zed", "\u00e4", "key with space", 'qu"ote', "back\\slash", "new\nline", "", "1", "items", "keys", "get", "_x", "\u65e5", "<k>", "\U0001f600", "type", "description", "aa", "B"]


class Values:
    """JSON text of random values."""

    def __init__(self, rng):
        self.rng = rng

    def text(self):
        if self.rng.random() < 0.7:
            return self.rng.choice(TEXTS)
        return "".join(self.rng.choice(TEXTS) for _ in range(self.rng.randint(1, 3)))[:200]

    def string(self):
        return json.dumps(self.text(), ensure_ascii=self.rng.random() < 0.3)

    def number(self):
        if self.rng.random() < 0.8:
            return self.rng.choice(NUMBERS)
        shape = self.rng.randrange(3)
        if shape == 0:
            return repr(self.rng.uniform(-1, 1) * 10 ** self.rng.randint(-12, 20))
        if shape == 1:
            return str(self.rng.randint(-(10**30), 10**30))
        return str(self.rng.randint(-100, 100))

    def any(self, depth=3):
        kind = self.rng.randrange(10 if depth else 6)
        if kind < 2:
            return self.string()
        if kind < 4:
            return self.number()
        if kind < 6:
            return self.rng.choice(["null", "true", "false", "[]", "{}"])
        return self.list(depth) if kind < 8 else self.object(depth)

    def list(self, depth=3):
        return "[" + ", ".join(self.any(depth - 1) for _ in range(self.rng.randint(0, 4))) + "]"

    def object(self, depth=3):
        keys = self.rng.sample(KEYS, self.rng.randint(0, 5))
        return "{" + ", ".join(json.dumps(k) + ": " + self.any(depth - 1) for k in keys) + "}"


def call(rng, values):
    fields = ['"name": ' + json.dumps(rng.choice(["get_weather", "f", "\u00fcber", "a.b"])), '"arguments": ' + values.object()]
    if rng.random() < 0.1:
        fields[1] = '"arguments": ' + json.dumps(rng.choice(["", "no object", "key: 1"]))
    rng.shuffle(fields)
    function = '{"function": {' + ", ".join(fields) + "}"
    if rng.random() < 0.7:
        function += ', "type": "function", "id": "c' + str(rng.randint(0, 3)) + '"'
    return function + "}"


def schema(rng, values, depth=2):
    kind = rng.choice(["string", "integer", "number", "boolean", "array", "object"] if depth else ["string", "integer"])
    fields = ['"type": "%s"' % kind]
    if rng.random() < 0.6:
        fields.append('"description": ' + values.string())
    if rng.random() < 0.3:
        fields.append('"enum": [' + ", ".join(values.string() for _ in range(rng.randint(1, 3))) + "]")
    if rng.random() < 0.2:
        fields.append('"nullable": true')
    if kind == "array":
        fields.append('"items": ' + schema(rng, values, depth - 1))
    if kind == "object":
        names = rng.sample(["city", "Unit", "\u00e4", "when", "list", "B", "a", "properties"], rng.randint(0, 4))
        fields.append('"properties": {' + ", ".join(json.dumps(n) + ": " + schema(rng, values, depth - 1) for n in names) + "}")
        if rng.random() < 0.6:
            fields.append('"required": ' + json.dumps(rng.sample(names, rng.randint(0, len(names)))))
    rng.shuffle(fields)
    return "{" + ", ".join(fields) + "}"


def tool(rng, values):
    parameters = schema(rng, values, 2)
    while '"type": "object"' not in parameters:
        parameters = schema(rng, values, 2)
    fields = ['"name": "tool_%d"' % rng.randint(0, 9), '"description": ' + values.string(), '"parameters": ' + parameters]
    if rng.random() < 0.2:
        fields.append('"response": ' + parameters)
    rng.shuffle(fields)
    return '{"type": "function", "function": {' + ", ".join(fields) + "}}"


def content(rng, values, role, parts):
    chance = rng.random()
    if chance < 0.7 or role in ("system", "developer"):
        return values.string()
    if role == "tool" and chance < 0.85:
        return values.object()
    if not parts:
        return values.string()
    return "[" + ", ".join('{"type": "text", "text": ' + values.string() + "}" for _ in range(rng.randint(0, 3))) + "]"


def message(rng, values, role, parts):
    fields = ['"role": "%s"' % role]
    calls = role == "assistant" and rng.random() < 0.4
    if calls:
        fields.append('"tool_calls": [' + ", ".join(call(rng, values) for _ in range(rng.randint(0, 3))) + "]")
    if role == "assistant" and rng.random() < 0.3:
        fields.append('"%s": %s' % (rng.choice(["reasoning", "reasoning_content", "thinking"]), values.string()))
    if calls and rng.random() < 0.5:
        if rng.random() < 0.5:
            fields.append('"content": null')
    else:
        fields.append('"content": ' + content(rng, values, role, parts))
    if role == "tool" and rng.random() < 0.7:
        fields.append('"tool_call_id": "c%d"' % rng.randint(0, 3))
    if role == "tool" and rng.random() < 0.6:
        fields.append('"name": "get_weather"')
    if rng.random() < 0.1:
        fields.append('"extra": ' + values.any())
    if rng.random() < 0.1:
        fields.append('"name": null' if role != "tool" else '"note": null')
    if rng.random() < 0.3:
        rng.shuffle(fields)
    return "{" + ", ".join(fields) + "}"


def conversation(rng, values, parts):
    """A conversation; `parts` says whether contents may be lists of parts."""
    roles = ["system"] if rng.random() < 0.3 else ["developer"] if rng.random() < 0.1 else []
    for _ in range(rng.randint(1, 3)):
        roles += ["user"] + rng.choice([["assistant"], ["assistant", "tool", "assistant"], ["assistant", "tool", "tool"], []])
    if rng.random() < 0.1:
        rng.shuffle(roles)
    fields = ['"messages": [' + ", ".join(message(rng, values, role, parts) for role in roles) + "]"]
    if rng.random() < 0.4:
        fields.append('"tools": [' + ", ".join(tool(rng, values) for _ in range(rng.randint(0, 3))) + "]")
    for key in ("enable_thinking", "add_generation_prompt"):
        if rng.random() < 0.5:
            fields.append('"%s": %s' % (key, rng.choice(["true", "false"])))
    return "{" + ", ".join(fields) + "}"


def snippet(rng, values):
    """A snippet by the grammar, and the values that it works on: all of them are fields of the first message."""
    fields = {
        "s": values.string(), "t": values.string(), "i": values.number(), "j": str(rng.randint(-9, 9)), "f": values.number(),
        "l": values.list(), "w": "[" + ", ".join(values.string() for _ in range(rng.randint(0, 5))) + "]",
        "n": "[" + ", ".join(str(rng.randint(-20, 20)) for _ in range(rng.randint(0, 6))) + "]", "d": values.object(), "v": values.any(),
        "r": "[" + ", ".join('{"k": %s, "g": "%s", "x": %s}' % (rng.randint(0, 3), rng.choice("abAB"), values.any(1)) for _ in range(rng.randint(0, 5))) + "]",
    }
    inside = ", ".join('"%s": %s' % pair for pair in fields.items())
    given = '{"messages": [{"role": "user", "content": "c", %s}, {"content": "d", "role": "assistant"}]}' % inside
    return "{% set M = messages[0] %}" + Snippets(rng).template(), given


def cases(seed, count, templates):
    """Conversations for whole templates, and with LAPIDARY_JINJA_SNIPPETS two thirds of snippets; every case depends on the
    seed and its number alone."""
    snippets = not templates or os.environ.get("LAPIDARY_JINJA_SNIPPETS")
    for number in range(count if snippets else count // 3 * 3):
        rng = random.Random("%s/%s" % (seed, number))
        values = Values(rng)
        if not snippets and number % 3:
            continue
        if templates and number % 3 == 0:
            name, source = templates[number // 3 % len(templates)]
            yield {"name": "%s/%d %s" % (seed, number, name), "template": source, "input": conversation(rng, values, "'text'" in source)}
        else:
            source, given = snippet(rng, values)
            yield {"name": "%s/%d snippet" % (seed, number), "template": source, "input": given}


def main():
    seed, count = sys.argv[1], int(sys.argv[2])
    templates = []
    for path in sys.argv[3:]:
        # Line ends as they are: what the language makes of them is tested.
        with open(path, encoding="utf-8", newline="") as file:
            templates.append((path, file.read()))
    json.dump(list(cases(seed, count, templates)), sys.stdout)


if __name__ == "__main__":
    main()
