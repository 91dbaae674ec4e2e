//! A bug for each check of the doctor, and that the check sees it under every table of shapes.

use lapidary::gpu::{Gpu, Kind, Tier};
use lapidary::testing::bounds::Measure;
use lapidary::testing::doctor::checks::{CHECKS, Check};
use lapidary::testing::kernels::{SHADERS, Tuning};
use lapidary::testing::workbench::{Bug, Workbench};

/// For each check a bug that it must see, also in its short form; several where tables compile different paths, of which each
/// table must see one.
pub(crate) const BUGS: &[(&str, Tier, &str, &str)] = &[
    ("quantized products, few rows", Tier::Plain, "params.groups - 1u)", "max(params.groups, 2u) - 2u)"),
    ("dense products, few rows", Tier::Plain, "LANES + i * LANES < n_places", "LANES + i * LANES + 1u < n_places"),
    ("quantized products, many rows", Tier::Plain, "vec4(0u, 4u, 8u, 12u)", "vec4(4u, 0u, 12u, 8u)"),
    ("dense products, many rows", Tier::Plain, "packed >> vec4(16u)", "packed & vec4(0xffffu)"),
    ("gated product", Tier::Plain, "gelu(sums[r]) * sums[r + n_outputs]", "sums[r] * gelu(sums[r + n_outputs])"),
    ("gated products of experts", Tier::Plain, "ids[p] - params.first_matrix;", "(ids[p] + 1u) % 3u;"),
    ("sums of experts", Tier::Plain, "factor *= factor_of(slot);", "factor *= factor_of(p * SLOTS);"),
    ("grouped experts", Tier::Plain, "Tile(matrix, tile.y, count)", "Tile(matrix, tile.y, count - min(count, 1u))"),
    ("grouped dense experts", Tier::Plain, "packed >> vec4(16u)", "packed & vec4(0xffffu)"),
    ("groups of rows", Tier::Plain, "l < lane)", "l <= lane)"),
    ("sums of grouped experts", Tier::Plain, "weights[slot] * products", "weights[s] * products"),
    ("router", Tier::Plain, "expert_scales[e];", "expert_scales[slot];"),
    ("rms_norm", Tier::Plain, "params.weight * quads", "0u * quads"),
    ("add_norm", Tier::Plain, "params.post * quads", "params.pre * quads"),
    ("add_norm", Tier::Plain, "* post_factor * post)", "* post_factor)"),
    ("moe_combine", Tier::Plain, "rms_factor(both.y)", "rms_factor(both.x)"),
    ("per-layer inputs", Tier::Plain, "0.70710678118654752", "0.7071"),
    ("gelu_mul", Tier::Plain, "0.044715", "0.0447"),
    (
        "attention, few rows, f32 cache",
        Tier::Plain,
        "max(position + 1u, window) - window",
        "max(position, window) - window",
    ),
    (
        "attention, few rows, f16 cache",
        Tier::Plain,
        "half_pair(lo.zw), half_pair(hi.xy)",
        "half_pair(hi.xy), half_pair(lo.zw)",
    ),
    ("attention, few rows, int8 cache", Tier::Plain, "packed.b[o / 4u % 4u]", "packed.b[0]"),
    ("attention, many rows, f32 cache", Tier::Plain, "position + 1u);", "position);"),
    ("attention, many rows, f16 cache", Tier::Plain, "segment = last + 1u;", "segment = end_row;"),
    ("attention, many rows, int8 cache", Tier::Plain, "+ params.rotary_offset;", ";"),
    ("ring of keys and values", Tier::Plain, "row.position % params.capacity", "row.position"),
    ("embedding", Tier::Plain, "let row = token - params.first_token;", "let row = token;"),
    ("capped logits", Tier::Plain, "if params.softcap == 0.0", "if true"),
    ("chosen rows", Tier::Plain, "chosen[group.y] *", "min(chosen[group.y], group.y) *"),
    ("greedy choice", Tier::Plain, "let closer = b.index <", "let closer = b.index >"),
    ("drawn choice", Tier::Plain, "draw.random * kept", "draw.random * total"),
    ("suppressed ids", Tier::Plain, "suppressed[lane] < params.width", "suppressed[lane] < params.stride"),
    ("made-up weights, copies", Tier::Plain, "pcg(params.seed + i)", "pcg(i)"),
    ("values that are no numbers", Tier::Plain, "words[i] & 0x7f800000u", "words[i] & 0x3f800000u"),
    ("quantized products in subgroups", Tier::Dot, "params.groups - 1u)", "max(params.groups, 2u) - 2u)"),
    ("dense products in subgroups", Tier::Dot, "LANES + i * LANES < n_places", "LANES + i * LANES + 1u < n_places"),
    ("rms_norm in subgroups", Tier::Dot, "params.weight * quads", "0u * quads"),
    ("add_norm in subgroups", Tier::Dot, "params.post * quads", "params.pre * quads"),
    ("add_norm in subgroups", Tier::Dot, "* post_factor * post)", "* post_factor)"),
    ("moe_combine in subgroups", Tier::Dot, "rms_factor(both.y)", "rms_factor(both.x)"),
    ("per-layer inputs in subgroups", Tier::Dot, "0.70710678118654752", "0.7071"),
    ("heads in subgroups", Tier::Dot, "+ params.rotary_offset;", ";"),
    ("int8 products, few rows", Tier::Dot, "dot(sums, c.scales.xy)", "dot(sums, c.scales.xx)"),
    ("int8 products, few rows", Tier::Dot, "dot(vec2<f32>(sums), c.scales.xy)", "dot(vec2<f32>(sums), c.scales.xx)"),
    ("int8 products, many rows", Tier::Dot, "quad[block % 4u]", "quad[0]"),
    ("int8 gated product", Tier::Dot, "p < ids[0]", "p + 1u < ids[0]"),
    ("int8 gated products of experts", Tier::Dot, "ids[p] - params.first_matrix;", "(ids[p] + 1u) % 3u;"),
    ("int8 sums of experts", Tier::Dot, "(packed >> vec2(4u))", "(packed >> vec2(0u))"),
    ("int8 sums of experts", Tier::Dot, "(word >> 4u) & 0x0f0f0f0fu", "word & 0x0f0f0f0fu"),
    ("int8 grouped experts", Tier::Dot, "if INTERLEAVED {", "if false {"),
    ("router beside products", Tier::Dot, "(group.x - BESIDE + group.z", "(group.x + group.z"),
    ("rms_norm, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("add_norm, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("moe_combine, rounded", Tier::Dot, "vec2(largest / 127.0,", "vec2(largest / 120.0,"),
    ("attention, f32 cache, rounded", Tier::Dot, "max(max(m.x, m.y), max(m.z, m.w))", "max(m.x, m.y)"),
    ("attention, f16 cache, rounded", Tier::Dot, "vec4(ia.yw, ib.yw)", "vec4(ib.yw, ia.yw)"),
    ("quantized products of matrices", Tier::Matrix, "factors[row_of[t]]", "factors[row_of[0]]"),
    (
        "dense products of matrices",
        Tier::Matrix,
        "(block % BLOCKS_N * ACROSS + j) * SIDE",
        "(block % BLOCKS_N * ACROSS) * SIDE",
    ),
    ("grouped experts of matrices", Tier::Matrix, "read.packed[i].x >> 16u", "read.packed[i].x >> 12u"),
    ("grouped dense experts of matrices", Tier::Matrix, "factors[row_of[t]]", "factors[row_of[0]]"),
];

/// The checks of `tier`, with their bugs.
fn checks(tier: Tier) -> impl Iterator<Item = (&'static Check, Vec<Bug>)> {
    CHECKS.iter().filter(move |check| check.tier == tier).map(|check| {
        let is_of = |(name, tier, ..): &&(&str, Tier, &str, &str)| (*name, *tier) == (check.name, check.tier);
        let bugs = BUGS.iter().filter(is_of).map(|&(name, _, from, to)| {
            let has = |subgroups| SHADERS.iter().any(|shader| shader.wgsl(subgroups).contains(from));
            assert!(has(false) || has(true), "\"{name}\": no shader has \"{from}\"");
            // By its name a device tells pipelines with a bug from others: each has its own.
            Bug { name: from, from, to }
        });
        let bugs: Vec<Bug> = bugs.collect();
        assert!(!bugs.is_empty(), "no bug for \"{}\"", check.name);
        (check, bugs)
    })
}

/// The tables that differ, under the first of their names.
fn tables() -> Vec<Tuning> {
    let mut all: Vec<Tuning> = Vec::new();
    for kind in Kind::ALL {
        let table = Tuning::of(kind);
        if all.iter().all(|other| *other != Tuning { kind: other.kind, ..table }) {
            all.push(table);
        }
    }
    all
}

/// A bench with the shapes of `table`, whatever the device is.
fn bench(gpu: &Gpu, tier: Tier, table: Tuning, bug: Option<Bug>) -> Workbench<'_> {
    Workbench::new(gpu, tier, bug).tuned(|tuning| *tuning = table)
}

/// What the check says of the device with the kernels of `bench`.
fn fault(check: &Check, bench: &Workbench) -> Option<String> {
    let mut measure = Measure::default();
    let result = check.run(bench, &mut measure);
    bench.gpu().check().unwrap_or_else(|e| panic!("{}: {e}", check.name));
    result.err().map(|e| e.to_string()).or(measure.result().err())
}

/// Runs the checks of `tier` under every table, each of them as it is, at all its shapes, and with its bug. What two tables
/// have alike is compiled once: all run on one device. Returns whether the device has the tier.
fn check_all(tier: Tier) -> bool {
    let gpu = Gpu::open(None).expect("an adapter");
    if tier > gpu.strongest_tier() {
        return false;
    }
    for (check, bugs) in checks(tier) {
        for table in tables() {
            let kind = table.kind;
            if let Some(fault) = fault(check, &bench(&gpu, tier, table, None)) {
                panic!("{} with the table \"{kind}\": {fault}", check.name);
            }
            let seen = bugs.iter().find_map(|bug| {
                let mut with_bug = bench(&gpu, tier, table, Some(*bug));
                with_bug.brief = true;
                fault(check, &with_bug)
            });
            let (name, to) = (check.name, bugs[0].to);
            let seen = seen.unwrap_or_else(|| panic!("\"{name}\" with the table \"{kind}\" does not see \"{to}\""));
            println!("{name}, table {kind}: {seen}");
        }
    }
    true
}

#[test]
fn plain_kernels_under_every_table() {
    assert!(check_all(Tier::Plain), "every device has them");
}

#[test]
fn kernels_for_rounded_activations_under_every_table() {
    if !check_all(Tier::Dot) {
        super::not_run::not_run("kernels for rounded activations under every table: the device has none");
    }
}

/// On lavapipe from Mesa 25.2 on, whose matrices are emulated: `tests/tables.sh`.
#[test]
fn kernels_of_matrices_under_every_table() {
    if !check_all(Tier::Matrix) {
        super::not_run::not_run("kernels of cooperative matrices under every table: the device has none");
    }
}
