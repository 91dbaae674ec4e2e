#!/bin/sh
# The loader and the shards against a quantizer in NumPy that shares no code with them, bit for bit:
#   sh tests/oracle.sh [make_gptq.py]
# It makes quantized checkpoints and dequantized twins of the dense golden sets, checks them by itself, and decodes the
# quantized golden sets; tests/oracle.rs compares. Needs python3 with numpy and LAPIDARY_FIXTURES or ../shared/fixtures.
set -eu
cd "$(dirname "$0")/.."
oracle=${1:-../shared/oracle/make_gptq.py}
sets=${LAPIDARY_FIXTURES:-../shared/fixtures}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# make NAME DENSE OPTIONS: one quantized checkpoint and its twin; the golden sets are small, so odd sizes are quantized too.
make() {
    name=$1 dense=$2
    shift 2
    printf '%s: ' "$name"
    mkdir "$work/$name"
    python3 "$oracle" make --in "$sets/$dense" --out "$work/$name/quant" --twin "$work/$name/twin" --allow-odd "$@"
    python3 "$oracle" check --quant "$work/$name/quant" --twin "$work/$name/twin"
}
shards() { python3 "$oracle" shards --quant "$work/$1/quant" --tp 2 --tp 3 --tp 4 --tp 8; }

for kind in moe dense; do
    make $kind-autoround $kind-bf16 --group-size 32 --sym --sym-mode autoround --quantize-router
    shards $kind-autoround
    make $kind-desc-act $kind-bf16 --group-size 32 --asym --desc-act --independent-g-idx --gptq-v1 --zp0 borrow
    shards $kind-desc-act
    make $kind-awq $kind-bf16 --group-size 16 --asym --format awq
done
make dense-channel dense-bf16 --group-size -1 --asym --gptq-v2 --config-style gptq
shards dense-channel
make moe-bytes moe-bf16 --bits 8 --group-size 32 --asym --gptq-v2 --config-style gptq
shards moe-bytes
make moe-ct-fused moe-bf16 --group-size 32 --asym --format compressed-tensors --ct-fused
make dense-ct-order dense-bf16 --group-size 32 --asym --format compressed-tensors --desc-act

# The golden sets that are quantized already: their twins are what the oracle's decoder makes of them.
PYTHONDONTWRITEBYTECODE=1 python3 - "$oracle" "$sets" "$work" <<'PYTHON'
import sys
from pathlib import Path
import numpy as np

oracle, sets, work = (Path(a).resolve() for a in sys.argv[1:])
sys.path.insert(0, str(oracle.parent))
import make_gptq as o

for folder in sorted(sets.iterdir()):
    if not (folder / "config.json").exists() or "quantization_config" not in (folder / "config.json").read_text():
        continue
    fmt, bits, group, sym, v1 = o.load_opts(folder)
    ck, out = o.Checkpoint(folder), work / ("golden-" + folder.name)
    out.mkdir()
    (out / "quant").symlink_to(folder)
    twin = o.Writer(out / "twin")
    for base in o.layers_of(ck, fmt):
        twin.add(base + ".weight", o.dequant(*o.decode_layer(fmt, o.layer_tensors(ck, base), bits, group, sym, v1)), "F32")
    for name in [n for n in ck.names() if n.endswith("_proj_packed")]:  # fused experts: a stack of matrices
        stem, experts = name[: -len("_packed")], []
        for e, packed in enumerate(ck.raw(name)):
            t = {"weight_packed": packed, "weight_scale": ck.f32(stem + "_scale")[e],
                 "weight_shape": np.array([packed.shape[0], packed.shape[1] * 32 // bits])}
            if stem + "_zero_point" in ck:
                t["weight_zero_point"] = ck.raw(stem + "_zero_point")[e]
            experts.append(o.dequant(*o.decode_layer(fmt, t, bits, group, sym, v1)))
        twin.add(stem, np.stack(experts), "F32")
    twin.close()
PYTHON

LAPIDARY_ORACLE="$work" cargo test --release --locked --quiet --test oracle
