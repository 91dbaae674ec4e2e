"""Random texts through lapidary's tokenizer and through the Python package `tokenizers`: the ids must be the same.

  python3 compare.py ENCODE tokenizer.json COUNT SEED

ENCODE is the example `encode`. Texts are drawn from all blocks of Unicode, with what hurts: sequences of emoji, combining
marks, controls, runs of white space, digits, code, spellings of special tokens, and one line of a megabyte.
"""

import json
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer

encode, path, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
where = f"{path}, seed {seed}"

assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Cn")]
words = "the quick brown fox fn main() { let x = vec![1, 2]; } What does Vec::push do? über naïve Привет 東京 สวัสดี".split()
people = ["👩", "👨", "🧑", "👧", "🦙", "🏳️", "❤️", "🇩🇪", "1️⃣", "#️⃣"]
reference = Tokenizer.from_file(path)
reference.encode_special_tokens = True
special = {i for i, t in reference.get_added_tokens_decoder().items() if t.special}
spellings = [t.content for t in reference.get_added_tokens_decoder().values()]


def piece():
    kind = rng.randrange(12)
    if kind == 0:
        return rng.choice(assigned)
    if kind == 1:  # neighbours: a script's own words
        at = rng.randrange(len(assigned) - 12)
        return "".join(rng.choice(assigned[at : at + 12]) for _ in range(rng.randrange(1, 9)))
    if kind == 2:
        return "\u200d".join(rng.choice(people) + rng.choice(["", "🏽", "🏿"]) for _ in range(rng.randrange(1, 5)))
    if kind == 3:
        return rng.choice("aeonzAΩж") + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(1, 6)))
    if kind == 4:
        return chr(rng.randrange(32)) * rng.randrange(1, 4)
    if kind == 5:
        return rng.choice([" ", "\n", "\t", "\r\n", "\u00a0", "▁", "\u3000"]) * rng.randrange(1, 40)
    if kind == 6:
        return str(rng.randrange(10 ** rng.randrange(1, 20)))
    if kind == 7:
        spelling = rng.choice(spellings)
        return rng.choice([spelling, spelling[:-1], spelling[1:], "<0x0A>", "<unused3>"])
    return rng.choice(words) + rng.choice(["", " ", " ", ", ", ".\n"])


def texts():
    for _ in range(count - 1):
        yield "".join(piece() for _ in range(rng.randrange(0, 12)))
    yield "the quick brown fox 🦙 jumps ".encode().decode() * 34000  # a megabyte without the end of a line


with tempfile.TemporaryFile("w+") as asked:
    for text in texts():
        asked.write(json.dumps(text) + "\n")
    asked.seek(0)
    answered = subprocess.Popen([encode, path], stdin=asked.fileno(), stdout=subprocess.PIPE, text=True)
    rng = random.Random(seed)
    cut = wrong = done = 0
    batch = []

    def compare():
        global cut, wrong, done
        for (text, found), expected in zip(batch, reference.encode_batch_fast([t for t, _ in batch], add_special_tokens=False)):
            done += 1
            if special & set(expected.ids):  # its merges made a special token out of plain text, which lapidary never does
                cut += 1
                wrong += bool(special & set(found))
            elif found != expected.ids:
                wrong += 1
                if wrong < 6:
                    print(f"{where}: {text!r}: found {found}, expected {expected.ids}", file=sys.stderr)
        batch.clear()

    for text, line in zip(texts(), answered.stdout):
        batch.append((text, json.loads(line)))
        if len(batch) == 4000:
            compare()
    compare()
    if answered.wait() != 0:
        sys.exit(f"{where}: {encode} ended with {answered.returncode}")
if done != count:
    sys.exit(f"{where}: {done} answers, expected {count}")
if wrong:
    sys.exit(f"{where}: {wrong} of {count} texts have other ids")
print(f"{where}: {count} texts have the same ids ({cut} of them cut, where the package makes special tokens of plain text)")
