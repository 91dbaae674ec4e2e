//! Do the tests see bugs? Each bug of a list is planted in a shader's text and must make the shader's own checks fail.
//!
//! What goes wrong with groups and shards, where it is planted (`planted_shards` has those of the host, as wrong copies of
//! `row_shard` and `column_shard`), and the test whose check must fail with it:
//!
//! | bug | planted in | caught by |
//! |---|---|---|
//! | local instead of global group | packed.wgsl; host: no first row | `real_shapes::row_shards_sequential`, `probes::model_shapes_sequential` |
//! | first stored group forgotten | host | `real_shapes::row_shards_sequential` |
//! | floor instead of ceil groups | packed.wgsl; host: `rows / group_size` are stored | `real_shapes::row_shards_sequential`, `probes::model_shapes_sequential` |
//! | group before the cut not stored | host: from `ceil(first row / group_size)` on | `real_shapes::row_shards_sequential` |
//! | table of the first rows | host: `g_idx[..rows]` | `real_shapes::row_shards_act_order` |
//! | group of k + 8, of a word's or a chunk's first code | packed.wgsl | `real_shapes::row_shards_sequential`, `_act_order`, `probes` |
//! | zero point off by one, stored or not | packed.wgsl | `real_shapes::row_shards_sequential`, `probes::all_codes_zeros_and_scales` |
//! | zero points minus one, as v1 stores them | host | `real_shapes::row_shards_sequential`; on the CPU `gptq_v1` of tests/cuts.rs |
//! | nibble or byte order | packed.wgsl | `real_shapes::row_shards_sequential`, `eight_bit_row_shards` |
//! | cut at a word of codes | host: foreign nibbles are kept | `real_shapes::row_shards_sequential` (three ranks) |
//! | column shard with a row offset | host | `real_shapes::column_shards` |
//! | column shard with the neighbour's zero points | host | `real_shapes::column_shards` |
//! | missing last tile | matvec.wgsl, tile.wgsl; host: last word of codes | `real_shapes::row_shards_sequential` |
//! | every expert with the first table, another expert | packed.wgsl, matvec.wgsl | `probes` of experts, `real_shapes::row_shards_of_experts` |

use super::probes::{interesting, probe, probe_experts, probe_grouped};
use super::product::Path;
use super::{moe_group, rounded_tiles};
use lapidary::gpu::{Kind, Tier};
use lapidary::testing::kernels::Tuning;

use crate::common::matrices::{Order, Scales, Spec, Unpacked};
use crate::common::random::Random;
use crate::common::{Bug, Runner, failure_with, gpu, tables};

/// Bugs of the packed weights, in both product shaders.
pub(super) const PACKED: [Bug; 10] = [
    Bug {
        name: "zero point off by one",
        from: "return f32(1u << (BITS - 1u));",
        to: "return f32((1u << (BITS - 1u)) - 1u);",
    },
    Bug {
        name: "stored zero point off by one",
        from: "& ((1u << BITS) - 1u));\n    }\n    return f32(",
        to: "& ((1u << BITS) - 1u)) + 1.0;\n    }\n    return f32(",
    },
    Bug {
        name: "local instead of global group",
        from: "(params.first_row + k) / GROUP_SIZE - params.first_group",
        to: "k / GROUP_SIZE",
    },
    Bug { name: "floor instead of ceil groups", from: "params.groups - 1u)", to: "max(params.groups, 2u) - 2u)" },
    Bug { name: "nibble order swapped", from: "vec4(0u, 4u, 8u, 12u)", to: "vec4(4u, 0u, 12u, 8u)" },
    Bug { name: "group of k + 8", from: "let group = group_of(row, k);", to: "let group = group_of(row, k + 8u);" },
    Bug { name: "group of a word's first code", from: "if RUN >= 8u {", to: "if true {" },
    Bug { name: "half halves swapped", from: "(16u * (group % 2u))", to: "(16u * (1u - group % 2u))" },
    Bug { name: "subnormal scales flushed", from: "f32(magnitude) * 5.9604644775390625e-8", to: "0.0" },
    Bug { name: "zero word of eight groups lost", from: "+ group / (32u / BITS)]", to: "]" },
];

/// Bugs that only 8-bit codes show.
pub(super) const BYTES: [Bug; 2] = [
    Bug { name: "byte order swapped", from: "vec4(0u, 8u, 16u, 24u)", to: "vec4(8u, 0u, 24u, 16u)" },
    Bug { name: "second word of eight bytes lost", from: "packed.y, BITS == 8u", to: "packed.x, BITS == 8u" },
];

/// Bugs of the matrix-vector product.
pub(super) const MATVEC: [Bug; 3] = [
    Bug { name: "group of a chunk's first code", from: "if RUN >= 32u {", to: "if true {" },
    Bug {
        name: "last chunk missing",
        from: "lane % LANES + i * LANES < n_places",
        to: "lane % LANES + i * LANES + 1u < n_places",
    },
    Bug {
        name: "last feature missing",
        from: "return min(n + r, params.n_rows - 1u);",
        to: "return min(n + r, params.n_rows - 2u);",
    },
];

/// Bugs of the matrix product as GPUs run it.
pub(super) const MATMUL: [Bug; 2] = [
    // A chunk's: the last step alone may be padding.
    bug("last steps missing", "k < end; k += K_STEP", "k + 32u < end; k += K_STEP"),
    bug(
        "a tile row too far",
        "add(low, tile_x[t], tile_x[t + next_t],",
        "add(low, tile_x[t], tile_x[t + next_t + 1u],",
    ),
];

/// Bugs of the matrix product whose lanes read nothing ahead.
const COPIED: [Bug; 2] = [
    bug("quads of x swapped", "tile_x[at] = read_x(tile, k, at);", "tile_x[at ^ 1u] = read_x(tile, k, at);"),
    bug(
        "weights of the step before",
        "put_w(tile, n0, k, at, read_w(tile, n0, k, at))",
        "put_w(tile, n0, k, at, read_w(tile, n0, max(k, K_STEP) - K_STEP, at))",
    ),
];

/// Bugs of the matrix product whose shares of the input features are added up apart.
const SHARES: [Bug; 2] = [
    bug("a share that overlaps the next", "let end = share_begin(number + 1u);", "let end = share_begin(number + 2u);"),
    bug("last share not added", "s < SHARES; s++", "s + 1u < SHARES; s++"),
];

const ONE_BLOCK: &str = "scale of another block of weights";

/// Bugs of the matrix product in int8.
const DOT: [Bug; 6] = [
    bug("zero point off", "vec4(zero * 0x01010101u)", "vec4((zero ^ 1u) * 0x01010101u)"),
    bug("even and odd codes swapped", "vec4(even.x, odd.x, even.y, odd.y)", "vec4(odd.x, even.x, even.y, odd.y)"),
    bug("x in another order than codes", "if INTERLEAVED {", "if false {"),
    bug(ONE_BLOCK, "scales_w[n * (K_STEP / 32u) + block]", "scales_w[n * (K_STEP / 32u)]"),
    bug("scale of another block of x", "quad[block % 4u]", "quad[0]"),
    bug("last rounded step missing", "k < CHUNKS * 32u; k += K_STEP", "k + 64u < CHUNKS * 32u; k += K_STEP"),
];

/// Bugs of the matrix product in int8 that takes words in turn and reads nothing ahead.
const ROLLED: [Bug; 3] = [
    bug("a word missing", "min(2u * params.in_words, 8u)", "min(2u * params.in_words, 7u)"),
    bug("the first word again", "word_products(x, tile_w[at_w][i % 4u])", "word_products(x, tile_w[at_w][0])"),
    bug("a block's scale lost", "scales_x[at] = read_scale(tile, k, at);", "scales_x[at] = 0.0;"),
];

/// Bugs of the matrix product in f16.
const MATRIX: [Bug; 6] = [
    bug(
        "weights the other way round",
        "coopLoad<MatrixW>(&tile_w[at_w], stride)",
        "coopLoadT<MatrixW>(&tile_w[at_w], stride)",
    ),
    bug("factor of another row", "factors[row_of[t]]", "factors[row_of[0]]"),
    bug("last rounded step missing", "k < CHUNKS * 32u; k += K_STEP", "k + 64u < CHUNKS * 32u; k += K_STEP"),
    bug(
        "every matrix is a block's first",
        "(block % BLOCKS_N * ACROSS + j) * SIDE",
        "(block % BLOCKS_N * ACROSS) * SIDE",
    ),
    bug("upper codes a nibble off", "read.packed[i].x >> 16u", "read.packed[i].x >> 12u"),
    bug("a factor that lets f16 overflow", "clamp(largest[0] >> 23u", "clamp(largest[0] >> 24u"),
];

/// Bugs of the matrix product as software adapters run it.
pub(super) const DIRECT: [Bug; 3] = [
    Bug {
        name: "last word missing",
        from: "word < params.in_words; word++",
        to: "word + 4u < params.in_words; word++",
    },
    Bug {
        name: "second row is the first",
        from: "let t1 = x_at(tile, lane_t + LANES_T);",
        to: "let t1 = x_at(tile, lane_t);",
    },
    Bug { name: "no last feature", from: "if n < params.n_rows {", to: "if n + 1u < params.n_rows {" },
];

/// Bugs of the product of grouped rows.
const GROUPED: [Bug; 6] = [
    bug("x in the lists' order", "return pairs[tile.first + t] / X_REPEAT", "return (tile.first + t) / X_REPEAT"),
    bug("a row of x for each pair", "pairs[tile.first + t] / X_REPEAT", "pairs[tile.first + t] / 1u"),
    bug("y in the lists' order", "return pairs[tile.first + t];", "return tile.first + t;"),
    bug("tiles of another expert", "tile.x - params.first_matrix;", "(tile.x + 1u) % 3u;"),
    bug("every tile is the first", "Tile(matrix, tile.y, count)", "Tile(matrix, 0u, count)"),
    bug("no last row of a tile", "Tile(matrix, tile.y, count)", "Tile(matrix, tile.y, count - min(count, 1u))"),
];

/// Bugs of the grouping.
const GROUPING: [Bug; 5] = [
    bug("last tile missing", "i < next - place; i += THREADS", "i + 1u < next - place; i += THREADS"),
    bug("one row too many", "min(TILE_T, total.y - start)", "min(TILE_T, total.y - start + 1u)"),
    bug("every expert begins the tiles", "let place = total.x / TILE_T + e;", "let place = e;"),
    bug("a lane behind its own pairs", "l < lane)", "l <= lane)"),
    bug("experts of the first rank", "vec4(params.first_expert + e,", "vec4(e,"),
];

/// Bugs that only experts show.
pub(super) const EXPERTS: [Bug; 2] = [
    Bug { name: "expert off by one", from: "ids[p] - params.first_matrix;", to: "(ids[p] + 1u) % 3u;" },
    Bug { name: "every expert with the first table", from: "(row / params.rows_per_matrix)", to: "(row / 1000000u)" },
];

/// The matrices of the probes: symmetric and not, f16 scales with edge values, shards that start inside a group.
fn cases() -> Vec<Spec> {
    let spec = Spec::new(5, 704, 128);
    let fine = Spec { scales: Scales::Edges, asymmetric: true, ..Spec::new(5, 272, 16) };
    vec![spec, fine, Spec { order: Order::Shuffled, ..fine }]
}

/// The same with 8 bits: groups of sixteen, and in any order.
fn cases_of_bytes() -> Vec<Spec> {
    cases().into_iter().skip(1).map(|spec| Spec { bits: 8, ..spec }).collect()
}

/// What the probes of a linear layer and of experts say.
fn probes(cases: Vec<Spec>, paths: &[Path], with_experts: bool) -> Vec<Result<(), String>> {
    let runner = Runner::new();
    let mut results = Vec::new();
    for (i, spec) in cases.into_iter().enumerate() {
        let mut random = Random::new(500 + i as u64);
        let stack: Vec<_> = (0..3).map(|_| Unpacked::random(&mut random, spec)).collect();
        let n_in = spec.in_features;
        for rows in [0..n_in, n_in / 8 + 3..n_in / 2] {
            let ks = interesting(&mut random, &stack[0], &rows);
            for &path in paths {
                results.push(probe(&runner, path, &stack[0], rows.clone(), &ks));
            }
            if with_experts {
                results.push(probe_experts(&runner, &stack, rows.clone(), &ks));
            }
        }
    }
    results
}

fn is_caught(bug: Bug, paths: &[Path], with_experts: bool) {
    is_caught_by(cases(), bug, paths, with_experts);
}

fn is_caught_by(cases: Vec<Spec>, bug: Bug, paths: &[Path], with_experts: bool) {
    sees(bug, || {
        for result in probes(cases, paths, with_experts) {
            result.unwrap_or_else(|e| panic!("{e}"));
        }
    });
}

/// Asserts that `check` fails with `bug` planted.
pub(super) fn sees(bug: Bug, check: impl FnOnce()) {
    let failure = failure_with(bug, check);
    let failure = failure.unwrap_or_else(|| panic!("planted \"{}\": no check saw it", bug.name));
    println!("{}: {failure}", bug.name);
}

#[test]
fn probes_pass_without_a_bug() {
    for result in probes([cases(), cases_of_bytes()].concat(), &[Path::Matvec, Path::Matmul, Path::Direct], true) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn bugs_of_packed_weights_are_caught() {
    for bug in PACKED {
        is_caught(bug, &[Path::Matvec], false);
        is_caught(bug, &[Path::Matmul], false);
        is_caught(bug, &[], true);
    }
    for bug in BYTES {
        is_caught_by(cases_of_bytes(), bug, &[Path::Matvec], false);
        is_caught_by(cases_of_bytes(), bug, &[Path::Matmul], false);
    }
}

#[test]
fn bugs_of_the_products_are_caught() {
    for bug in MATVEC {
        is_caught(bug, &[Path::Matvec], false);
    }
    for bug in MATMUL {
        is_caught(bug, &[Path::Matmul], false);
    }
    for bug in COPIED {
        is_caught(bug, &[Path::Small], false);
    }
    for bug in SHARES {
        is_caught(bug, &[Path::Shares], false);
    }
    for bug in DIRECT {
        is_caught(bug, &[Path::Direct], false);
    }
    for bug in EXPERTS {
        is_caught(bug, &[], true);
    }
}

#[test]
fn bugs_of_grouped_rows_are_caught() {
    let cases = |tuning| {
        let mut random = Random::new(519);
        let stack: Vec<_> = (0..3).map(|_| Unpacked::random(&mut random, Spec::new(5, 272, 16))).collect();
        let ks = interesting(&mut random, &stack[0], &(0..272));
        probe_grouped(tuning, &stack, 0..272, &ks).unwrap_or_else(|e| panic!("{e}"));
    };
    for tuning in tables(|table| table.experts.plain) {
        cases(tuning);
        for bug in GROUPED {
            sees(bug, || cases(tuning));
        }
    }
    moe_group::check_some();
    for bug in GROUPING {
        sees(bug, moe_group::check_some);
    }
}

#[test]
fn bugs_of_rounded_products_are_caught() {
    for table in tables(rounded_tiles::dot_tiles) {
        // A step of 32 has one block of weights.
        let has_blocks = table.tiles.dot.k_step > 32;
        for bug in DOT.into_iter().filter(|bug| has_blocks || bug.name != ONE_BLOCK) {
            sees(bug, || rounded_tiles::check_probes(Tier::Dot, table));
        }
    }
    for bug in ROLLED {
        sees(bug, || rounded_tiles::check_probes(Tier::Dot, Tuning::of(Kind::Unknown)));
    }
    // Without matrices the check says that it does not run.
    if gpu().matrix_side().is_some() {
        for table in tables(rounded_tiles::matrix_tiles) {
            for bug in MATRIX {
                sees(bug, || rounded_tiles::check_shapes(Tier::Matrix, table));
            }
        }
    }
}

/// A bug of a shader, by name, what stands there and what is planted.
pub(super) const fn bug(name: &'static str, from: &'static str, to: &'static str) -> Bug {
    Bug { name, from, to }
}
