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
use super::{
    add_norm, argmax, copy_words, embed, experts, fill_random, gather_rows, gelu_mul, matvec, moe_combine, moe_group,
    per_layer_inputs, product, rms_norm, rounded_tiles, router, sample, strip_max, suppress,
};
use lapidary::gpu::Tier;
use lapidary::kernels::Tuning;
use lapidary::kernels::tuning::Kind;

use crate::common::matrices::{Order, Scales, Spec, Unpacked};
use crate::common::random::{Random, Spread};
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
    bug("every tile is the first", "Tile(matrix, tile.y, tile.z)", "Tile(matrix, 0u, tile.z)"),
    bug("no last row of a tile", "Tile(matrix, tile.y, tile.z)", "Tile(matrix, tile.y, tile.z - 1u)"),
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

#[test]
fn bugs_of_norms_are_caught() {
    let norms = || {
        rms_norm::check("small", 32, &[0.5; 96], 32, &[1e-4; 64]);
        rms_norm::check("ordinary", 32, &Random::new(513).values(99, Spread::Normal), 33, &[1.5; 66]);
    };
    norms();
    sees(bug("no epsilon", " + params.eps", ""), norms);
    sees(bug("first norm", "params.weight * quads", "0u * quads"), norms);
    sees(bug("last value left out of the sum", "i < WIDTH; i += THREADS", "i + 1u < WIDTH; i += THREADS"), norms);
    let x = Random::new(519).values(520, Spread::Normal);
    let held = || rms_norm::check("held", 32, &Random::new(513).values(780, Spread::Normal), 260, &x);
    held();
    sees(
        bug("last quad twice in the sum", "select(0.0, dot(value, value), is_held(lane, j))", "dot(value, value)"),
        held,
    );
    sees(bug("last quad left out", "lane + j * THREADS < WIDTH / 4u", "lane + j * THREADS + 1u < WIDTH / 4u"), held);
    sees(bug("a column of the sum missing", "four_columns(12u)", "four_columns(8u)"), held);
    sees(bug("half a column missing", "if k < THREADS / 16u", "if k < THREADS / 32u"), held);
}

#[test]
fn bugs_of_joined_streams_are_caught() {
    let adds = |width: usize| move || add_norm::check(&mut Random::new(514), 32, width, 3, 3, 0.37);
    let (held, walked) = (260, 33);
    adds(held)();
    adds(walked)();
    let (from, to) = ("(h[at][i % 4u] + normed) * params.scalar", "h[at][i % 4u] + normed * params.scalar");
    sees(bug("scalar on x alone", from, to), adds(walked));
    sees(bug("third output with the second's norm", "weight + 2u * quads", "weight + quads"), adds(walked));
    let from = "h[at][i % 4u] = value;\n        squares += value * value";
    sees(
        bug("norm of h before the sum", from, "h[at][i % 4u] = value;\n        squares += normed * normed"),
        adds(walked),
    );
    let (from, to) = ("post_factor * post) * params.scalar", "post_factor * post * params.scalar)");
    sees(bug("scalar on x alone, held", from, to), adds(held));
    sees(bug("third output with the second's norm, held", "params.pre + 2u", "params.pre + 1u"), adds(held));
    sees(bug("h is not written", "h[at] = q[j].value;", "h[at] = q[j].h;"), adds(held));
    let combines = |width: usize| move || moe_combine::check(&mut Random::new(515), 32, width, 2, 0.7);
    combines(held)();
    combines(walked)();
    for width in [held, walked] {
        sees(bug("experts with the dense norm", "norm(params.post_2,", "norm(params.post_1,"), combines(width));
        sees(bug("experts with the factor of the MLP", "rms_factor(both.y)", "rms_factor(both.x)"), combines(width));
    }
}

#[test]
fn bugs_of_per_layer_inputs_are_caught() {
    let inputs = || per_layer_inputs::check(&mut Random::new(517), 3, 5, 33, Spread::Normal);
    inputs();
    sees(bug("no root of two", "0.70710678118654752", "1.0"), inputs);
    sees(bug("every layer reads the first", "group.x * params.n", "0u * params.n"), inputs);
    sees(bug("norm over all layers", "f32(params.n)", "f32(params.stride)"), inputs);
    sees(bug("last value left out", "i < params.n; i += THREADS", "i + 1u < params.n; i += THREADS"), inputs);
}

#[test]
fn bugs_of_choices_are_caught() {
    let routes = || {
        let mut random = Random::new(516);
        let logits: Vec<f32> = (0..64).map(|_| random.below(5) as f32).collect();
        router::check("ties", 16, 4, &logits, &random.values(16, Spread::Uniform));
        router::check("shared", 64, 4, &logits, &random.values(64, Spread::Uniform));
    };
    routes();
    sees(bug("tie to the higher expert", "< vec4(e % 4u)", "> vec4(e % 4u)"), routes);
    sees(bug("tie to the higher quad", "quad < vec4(e / 4u)", "quad > vec4(e / 4u)"), routes);
    sees(bug("scale of the slot", "expert_scales[e];", "expert_scales[slot];"), routes);
    sees(bug("not renormalized", "exp(top_logit[slot] - largest) / sum", "exp(top_logit[slot] - largest)"), routes);
    sees(bug("last part missing", "part < PARTS", "part + 1u < PARTS"), routes);
    sees(bug("every part the first", "i / N_EXPERTS * PART_QUADS", "0u"), routes);
    let greedy = || {
        let mut random = Random::new(517);
        let logits: Vec<f32> = (0..3 * 600).map(|_| random.below(3) as f32).collect();
        argmax::check("ties", 600, &logits);
        // Quad 15: the last of 16 columns, whatever the number of lanes.
        argmax::check("column 15", 600, &[vec![-1.0; 63], vec![1.0], vec![-1.0; 536]].concat());
        argmax::check("masked", 600, &[vec![f32::MIN; 599], vec![-3.4e38]].concat());
    };
    greedy();
    sees(bug("later of a lane's equals", "candidate > value", "candidate >= value"), greedy);
    sees(bug("higher of two lanes' equals", "let closer = b.index <", "let closer = b.index >"), greedy);
    let first = "var value = logits[row + index / 4u][index % 4u];";
    sees(bug("starts from a constant", first, "var value = -3.39e38;"), greedy);
    sees(bug("last column missing", "column < 16u", "column < 15u"), greedy);
    sees(bug("last part missing", "min(lane, params.parts - 1u)", "min(lane, max(params.parts, 2u) - 2u)"), greedy);
    sees(bug("padding is a candidate", "4u * quad + c < params.width", "true"), || {
        argmax::check("short last quad", 5, &[-1.0; 10]);
    });
}

#[test]
fn bugs_of_draws_are_caught() {
    let draws = || {
        let mut random = Random::new(522);
        let negative: Vec<f32> = random.values(2 * 331, Spread::Normal).iter().map(|v| v - 9.0).collect();
        sample::check("negative", 331, &negative);
        sample::check("three values", 331, &(0..331).map(|_| random.below(3) as f32 - 1.0).collect::<Vec<_>>());
        sample::check("equal", 331, &(0..331).map(|i| if i % 2 == 0 { -0.0 } else { 0.0 }).collect::<Vec<_>>());
        sample::check("the last", 331, &[vec![-1.0; 330], vec![5.0]].concat());
        sample::check("one left", 5, &[f32::NEG_INFINITY, -1.0, f32::NEG_INFINITY, -2.0, -3.0]);
    };
    draws();
    sees(bug("last strips or tokens missing", "i < n_quads; i +=", "i + 1u < n_quads; i +="), draws);
    sees(bug("higher ids of equals stay", "- 1u) - ids_of(quad);", "& 0u) + ids_of(quad);"), draws);
    sees(bug("higher id of equals first", "let is_earlier = a.id <", "let is_earlier = a.id >"), draws);
    sees(bug("last bit of places ignored", "round < 32u + PLACE_BITS", "round < 31u + PLACE_BITS"), draws);
    sees(bug("last bit of keys ignored", "1u << (31u - round)", "2u << (31u - round)"), draws);
    sees(bug("top-p of one", "draw.top_p * total", "draw.top_p"), draws);
    sees(bug("drawn among all", "draw.random * kept", "draw.random * total"), draws);
    sees(bug("no temperature", "- largest) * draw.inverse_temperature", "- largest)"), draws);
    sees(bug("the first row's draw", "let draw = draws[row];", "let draw = draws[0];"), draws);
    sees(bug("zeros of two signs", "vec4(0x80000000u), magnitude ==", "~bits, magnitude =="), draws);
    sees(bug("negative ones upside down", "select(~bits, vec4", "select(~bits ^ vec4(0x7fffffffu), vec4"), draws);
    sees(bug("minus infinity is garbage", "vec4(NO_TOKEN), bits ==", "keys, bits =="), draws);
    sees(bug("padding is a token", "ids_of(quad) < vec4(params.width)", "vec4<bool>(true)"), draws);
    let strips = || {
        let mut logits = Random::new(523).values(662, Spread::Normal);
        logits[2 * 64 - 1] = 100.0; // The last of a strip.
        strip_max::check("random", 331, &logits);
    };
    strips();
    sees(bug("last quad of a strip missing", "i < STRIP_QUADS; i++", "i + 1u < STRIP_QUADS; i++"), strips);
    sees(bug("every row's strips are the first's", "maxima[group.y * params.strips + strip]", "maxima[strip]"), strips);
    let suppressed = || suppress::check("two rows", 33, 2, &[33, 5, 64]);
    suppressed();
    sees(bug("padding suppressed", "suppressed[lane] < params.width", "suppressed[lane] < params.stride"), suppressed);
    sees(bug("suppressed in the first row", "logits[group.y * params.stride + supp", "logits[supp"), suppressed);
    sees(bug("last id forgotten", "lane < params.n_ids &&", "lane + 2u < params.n_ids &&"), suppressed);
}

#[test]
fn bugs_of_copies_and_gates_are_caught() {
    let gates = || {
        let mut random = Random::new(518);
        let (gate, up) = (random.values(130, Spread::Normal), random.values(130, Spread::Normal));
        gelu_mul::check("gates", 65, &gate, &up, 2);
    };
    gates();
    sees(
        bug(
            "gate and up swapped",
            "gelu(gate[group.y * params.gate_stride + i]) * factor",
            "gate[group.y * params.gate_stride + i] * gelu(factor)",
        ),
        gates,
    );
    sees(bug("another cubic", "0.044715", "0.0447"), gates);
    sees(bug("no last value", "if i < params.width", "if i + 1u < params.width"), gates);
    sees(bug("padding written", "if i < params.width", "if i < params.y_stride"), gates);
    let gathers = || gather_rows::check(&[65]);
    gathers();
    sees(bug("rows in order", "chosen[group.y] *", "min(chosen[group.y], group.y) *"), gathers);
    sees(bug("padding copied", "i < params.width", "i < params.stride"), gathers);
    let embeds = || embed::check(&[33]);
    embeds();
    sees(bug("parts all start at token 0", "token - params.first_token", "token"), embeds);
    sees(bug("no embedding scale", " * params.scale", ""), embeds);
    sees(bug("half words swapped", "packed >> vec4(16u)", "packed & vec4(0xffffu)"), embeds);
    let packed = || embed::check_packed(&[(80, 32)]);
    packed();
    sees(bug("table's parts all start at token 0", "token - params.first_token", "token"), packed);
    sees(bug("first group for all", "(params.first_row + k) / GROUP_SIZE", "0u"), packed);
    sees(bug("scales of the first row", "row * params.scale_words", "0u"), packed);
    sees(bug("zero points of the first row", "row * params.zero_words", "0u"), packed);
    product::check_softcap();
    sees(bug("no softcap", "if params.softcap == 0.0", "if true"), product::check_softcap);
    experts::check_dense_stack();
    sees(bug("a row of x for each row of y", "/ params.x_repeat", "/ 1u"), experts::check_dense_stack);
    sees(bug("parts all start at expert 0", "ids[p] - params.first_matrix", "ids[p]"), experts::check_dense_stack);
    let gates = || matvec::check_gated(3, 40);
    gates();
    let from = "gelu(sums[r]) * sums[r + n_outputs]";
    sees(bug("up is gated by gate's place", from, "sums[r] * gelu(sums[r + n_outputs])"), gates);
    let sums = || matvec::check_sum(2..5, 5, 40);
    sums();
    sees(bug("a later part overwrites", "y[to] += sums[r];", "y[to] = sums[r];"), sums);
    sees(
        bug("every slot's factor is the first's", "factor *= factor_of(slot);", "factor *= factor_of(p * SLOTS);"),
        sums,
    );
    sees(bug("other ranks' experts count", "ids[slot] - params.first_matrix", "(ids[slot] % params.n_matrices)"), sums);
}

#[test]
fn bugs_of_whole_buffers_are_caught() {
    let fills = || fill_random::check(&[260]);
    fills();
    sees(bug("no seed", "pcg(params.seed + i)", "pcg(i)"), fills);
    sees(bug("only the random bits", "& params.keep) | params.base", "& params.keep)"), fills);
    sees(bug("another shift", "word >> 22u", "word >> 21u"), fills);
    sees(bug("last word missing", "if i < params.n_words", "if i + 1u < params.n_words"), fills);
    let copies = || copy_words::check(&[1028]);
    copies();
    sees(bug("first workgroup only", "+ group.x) * LANES", ") * LANES"), copies);
    sees(bug("last words missing", "if i < params.n_quads", "if i + 1u < params.n_quads"), copies);
}
